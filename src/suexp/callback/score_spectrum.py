"""How many directions the scores of attention have: their singular values."""

from collections import defaultdict
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback._attention import attentions, observed, read
from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import UserError, at_least
from suexp.mask.padding import Padding
from suexp.task.base import Task


class ScoreSpectrum(Callback, Component):
    r"""After training: singular values $\sigma_1 \ge \sigma_2 \ge \dots$ of $J = QK^\top/\sqrt d$.

    J (n, n) are the scores of one head on one text, mixed where heads talk, before the mask and
    without the bias of positions. Their rank is at most the size d of a key, however long the text
    is: the bottleneck of many small heads. Mixed scores of h heads have rank h d at most.

    Table ``score_spectrum``: layer (from 0), index r (from 1), value: $\sigma_r / \sigma_1$, the
    mean over heads and texts. Final: ``val/score_rank``, the mean number of singular values above
    $n \epsilon \sigma_1$, $\epsilon$ of the precision that they are computed in (float64 but on
    MPS). The modules of an encoder come before those of a decoder. Texts are cut at ``length``; a
    text whose first ``length`` keys are not all there, as padding is not, is left out.

    References: Bhojanapalli et al., Low-Rank Bottleneck in Multi-head Attention Models,
    arXiv:2002.07028; https://kexue.fm/archives/7325.

    Args:
        length: n, tokens of a text.
        texts: the first texts of the first validation batch that are looked at.

    Raises:
        ValueError: length below 2, texts below 1.
        UserError: a model without attention, or with one that forms no scores; shorter texts.
    """

    needs: ClassVar[dict[str, str]] = {
        "attention": "it measures the scores of attention, and the model has none; use "
        "model=transformer, or leave it out"
    }

    def __init__(self, length: int = 64, texts: int = 8) -> None:
        at_least(2, "callbacks.score_spectrum", length=length)
        at_least(1, "callbacks.score_spectrum", texts=texts)
        self.length, self.texts = length, texts

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it."""
        del trainer, stage
        for attention in attentions(pl_module, "score_spectrum"):
            if not hasattr(attention, "scores"):
                name = type(attention).__name__
                raise UserError(
                    f"callback=score_spectrum: {name} forms no scores; use attention=softmax, or "
                    "leave it out"
                )

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the singular values, once training is over."""
        if not is_last(trainer):
            return
        task: Any = pl_module
        assert isinstance(task, Task)
        seen: dict[int, list[Tensor]] = defaultdict(list)

        def look(layer: int, attention: Any, call: dict[str, Any]) -> None:
            seen[layer].append(self._values(attention, call))

        with observed(attentions(task.model, "score_spectrum"), look):
            read(trainer, task, 1, slice(self.texts))
        values = {layer: torch.cat(found) for layer, found in sorted(seen.items())}
        if not any(len(found) for found in values.values()):
            raise UserError(
                f"callback=score_spectrum: no text has {self.length} tokens; set "
                "callbacks.score_spectrum.length"
            )
        task.tables.pop("score_spectrum", None)
        for layer, found in values.items():
            means = (found / found[:, :1]).mean(0).tolist() if len(found) else []
            task.record_rows(
                "score_spectrum",
                [
                    {"layer": layer, "index": index, "value": value}
                    for index, value in enumerate(means, start=1)
                ],
            )
        task.final["val/score_rank"] = float(
            torch.cat([_rank(found) for found in values.values()]).mean()
        )

    def _values(self, attention: Any, call: dict[str, Any]) -> Float[Tensor, "c r"]:
        """Return the singular values of all heads and texts, one after the other."""
        wide = torch.float32 if call["q"].device.type == "mps" else torch.float64
        q, k = (call[name].to(wide) for name in ("q", "k"))
        scores = attention.scores(**{**call, "q": q, "k": k, "bias": None})
        n = self.length
        if min(scores.shape[-2:]) < n:
            return torch.zeros(0, n)
        padding = call["mask"].find(Padding)
        if padding is not None:
            scores = scores[padding.keep[:, :n].all(1)]
        return torch.linalg.svdvals(scores[..., :n, :n].cpu()).flatten(0, 1)


def _rank(values: Float[Tensor, "c r"]) -> Float[Tensor, " c"]:
    """Return how many singular values are no rounding, of each matrix."""
    least = values[:, :1] * values.shape[1] * torch.finfo(values.dtype).eps
    return (values > least).sum(1).float()
