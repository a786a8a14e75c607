"""What a model makes of a batch's rows: vectors, texts, or pairs of texts in one row."""

from typing import Any

from torch import Tensor


def outputs(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return the model's outputs for ``x``, or for ``tokens`` with ``keep``.

    Which of two texts a token belongs to, ``segments``, is told to a model that has an embedding
    for it.
    """
    if "x" in batch:
        return model(batch["x"])
    told = {}
    if "segments" in batch and getattr(model, "segment_embedding", None) is not None:
        told["segments"] = batch["segments"]
    return model(batch["tokens"], keep=batch["keep"], **told)
