"""Handwritten digits that come with scikit-learn."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from suexp.data.base import Data
from suexp.data.cache import cached
from suexp.data.document import share
from suexp.errors import UserError, at_least

ROWS = 1797


class Digits(Data):
    r"""1,797 digits of 8 x 8 pixels as vectors $x = p / 16 \in [0, 1]^{64}$, and labels.

    The rows are shuffled by ``split_seed``; the first ``num_train`` are for training, the last
    ``num_test`` for a test split, if any, and the others for validation. A batch holds ``x``
    (B, 64), float32, and ``label`` (B,), 0 to 9; cut into square patches of side ``patch``, row by
    row, ``x`` is (B, (8 / patch)^2, patch^2).

    Reference: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits,
    https://doi.org/10.24432/C50P49 (the test part, as scikit-learn ships it).

    Args:
        num_train: rows for training (1,400 of 1,797, as most of the experiments here).
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        split_seed: which rows are for training.
        max_rows: the most rows that training reads, the first of them; None: all. The other splits
            stay whole.
        patch: side of the patches; 0: one vector.
        dequantize: $x = (p + u) / s$ with u uniform in [0, 1), drawn once for each row by
            ``split_seed``: a density of x then bounds the probability of the pixels.
        scale: s; the pixels p are 0 to 16.
        center: subtract the mean of the training rows: no density notices, but a network does.
        range: ``unit``, x as above; ``symmetric``, $2x - 1$, as GANs have it.
        num_test: rows of a test split, for where validation chooses something; 0: no such split.

    Raises:
        ValueError: a number or name out of range.
    """

    provides: ClassVar[set[str]] = {
        "vectors if patch=0",
        "images if patch=0",
        "patches if patch",
        "labels",
        "discrete if dequantize=False",
    }

    def __init__(
        self,
        num_train: int = 1400,
        batch_size: int = 64,
        eval_batch_size: int = 512,
        split_seed: int = 0,
        max_rows: int | None = None,
        patch: int = 0,
        dequantize: bool = False,
        scale: float = 16.0,
        center: bool = False,
        range: Literal["unit", "symmetric"] = "unit",
        num_test: int = 0,
    ) -> None:
        if range not in ("unit", "symmetric"):
            raise ValueError(f"data.range must be unit or symmetric, not {range}")
        if not 0 < num_train < ROWS:
            raise ValueError(f"data.num_train must be between 1 and {ROWS - 1}, not {num_train}")
        if not 0 <= num_test < ROWS - num_train:
            raise ValueError(
                f"data.num_test={num_test}: of {ROWS} rows {num_train} are for training; leave "
                "some for validation"
            )
        at_least(1, "data", batch_size=batch_size, eval_batch_size=eval_batch_size)
        if max_rows is not None and max_rows < 1:
            raise ValueError(f"data.max_rows must be at least 1, not {max_rows}")
        if patch not in (0, 1, 2, 4):
            raise ValueError(f"data.patch must be 1, 2 or 4, or 0 for one vector, not {patch}")
        if scale <= 0:
            raise ValueError(f"data.scale must be above 0, not {scale}")
        self.num_train, self.split_seed, self.range = num_train, split_seed, range
        self.dequantize, self.divisor, self.center = dequantize, scale, center
        self.scale = scale / (1 if range == "unit" else 2) if dequantize else None
        self.max_rows, self.patch, self.num_test = max_rows, patch, num_test
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size

    def splits(self) -> dict[str, Any]:
        """Return train, validation and, with num_test, test; written on first use."""
        from suexp.data.rows import open_rows

        folder = cached(f"digits-{self.fingerprint()[:20]}", self._prepare)
        return {
            name: open_rows(folder / f"{name}.arrow", f"{folder.name}-{name}")
            for name in ("train", "validation", *(["test"] if self.num_test else []))
        }

    def _prepare(self, folder: Path) -> None:
        import numpy as np
        from sklearn.datasets import load_digits

        from suexp.data.rows import write_rows

        pixels, labels = load_digits(return_X_y=True)
        if len(pixels) != ROWS:
            raise UserError(f"this scikit-learn has {len(pixels)} digits instead of {ROWS}")
        order = sorted(range(ROWS), key=lambda row: share(str(row), f"digits/{self.split_seed}"))
        if self.dequantize:
            pixels = pixels + np.random.default_rng(self.split_seed).random(pixels.shape)
        parts = {
            "train": order[: self.num_train][: self.max_rows],
            "validation": order[self.num_train : ROWS - self.num_test],
        }
        if self.num_test:
            parts["test"] = order[ROWS - self.num_test :]
        x = pixels / self.divisor
        if self.center:
            x = x - x[parts["train"]].mean(0)
        for name, rows in parts.items():
            table = {"x": x[rows].astype(np.float32), "label": labels[rows]}
            write_rows(folder / f"{name}.arrow", [table])

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch of these rows."""
        import numpy as np
        import torch

        x = torch.from_numpy(np.stack([row["x"] for row in rows]))
        if self.range == "symmetric":
            x = 2 * x - 1
        if self.patch:
            side = 8 // self.patch
            grid = x.view(-1, side, self.patch, side, self.patch).transpose(2, 3)
            x = grid.reshape(len(x), side * side, self.patch**2)
        return {
            "x": x,
            "label": torch.from_numpy(np.array([row["label"] for row in rows])),
        }

    @property
    def sizes(self) -> dict[str, int]:
        """64 pixels or the patches' own, 10 classes."""
        if self.patch:
            return {"vocab_size": 0, "input_dim": self.patch**2, "num_classes": 10}
        return {"input_dim": 64, "num_classes": 10}

    def depends_on(self) -> Any:
        """Return the choice of rows, and how they are read."""
        choice = [self.num_train, self.num_test, self.split_seed, self.max_rows]
        return [*choice, self.range, self.dequantize, self.divisor, self.center]
