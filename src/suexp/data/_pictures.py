"""What the data sets of pictures share: from bytes of pixels to vectors on disk."""

from pathlib import Path
from typing import Any

from suexp.data._labelled import labelled
from suexp.data.base import Data
from suexp.data.document import share
from suexp.errors import at_least

CHUNK = 4096  # rows held as floats at once


class Pictures(Data):
    r"""Pictures of one size as vectors, $x = p / 255$ of bytes p, or dequantised, $(p + u) / 256$.

    Args:
        pixels: ``gray`` or ``dequantized``: u uniform in [0, 1), drawn once by ``split_seed``.
        range: ``unit``, x in [0, 1]; ``symmetric``, $2x - 1$.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        split_seed: of the split and the draws.
    """

    def __init__(
        self, pixels: str, range: str, batch_size: int, eval_batch_size: int, split_seed: int
    ) -> None:
        if pixels not in ("gray", "dequantized"):
            raise ValueError(f"data.pixels must be gray or dequantized, not {pixels}")
        if range not in ("unit", "symmetric"):
            raise ValueError(f"data.range must be unit or symmetric, not {range}")
        at_least(1, "data", batch_size=batch_size, eval_batch_size=eval_batch_size)
        self.pixels, self.range, self.split_seed = pixels, range, split_seed
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        if pixels == "dequantized":
            self.scale = 256.0 if range == "unit" else 128.0

    def write(self, path: Path, rows: Any, labels: Any = None) -> None:
        """Write pictures, (rows, width) bytes, as vectors, with their classes if there are any."""
        import numpy as np

        from suexp.data.rows import write_rows

        seed = int(share(path.stem, f"pixels/{self.split_seed}") * 2**63)
        generator = np.random.default_rng(seed)

        def tables() -> Any:
            for start in np.arange(0, len(rows), CHUNK):
                part = rows[start : start + CHUNK].astype("float64")
                if self.pixels == "dequantized":
                    x = (part + generator.random(part.shape)) / 256
                else:
                    x = part / 255
                table = {"x": (2 * x - 1 if self.range == "symmetric" else x).astype("float32")}
                if labels is not None:
                    table["label"] = labels[start : start + CHUNK]
                yield table

        write_rows(path, tables())

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch of these rows."""
        import numpy as np
        import torch

        if "label" in rows[0]:
            return labelled(rows)
        return {"x": torch.from_numpy(np.stack([row["x"] for row in rows]))}
