"""Tables of numbers as data: what such options share. No NumPy at module level."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from suexp.data import bounds
from suexp.data._labelled import labelled
from suexp.data.base import Data
from suexp.data.cache import cached
from suexp.errors import UserError, at_least

if TYPE_CHECKING:
    from numpy.typing import NDArray

Whitening = Literal["none", "standard", "total", "within"]
TINY = 1e-10  # a direction with at most this share of the largest variance has none


class Vectors(Data):
    """Vectors and labels, whitened by what the training split says, held as float32.

    A batch holds ``x`` (B, dim) and ``label`` (B,), or, where answers are numbers, ``target`` (B,).

    Args:
        whiten: ``none``; ``standard``, each feature by its own deviation; ``total`` and
            ``within``, together, by the covariance of all rows or within classes.
            Directions without variance become 0.
        batch_size: rows of a training step; at most all.
        eval_batch_size: rows of an evaluation step.

    Raises:
        ValueError: a value out of range.
    """

    provides: ClassVar[set[str]] = {"vectors", "labels"}
    answer: Literal["label", "target"] = "label"

    def __init__(self, whiten: Whitening, batch_size: int, eval_batch_size: int) -> None:
        if whiten not in get_args(Whitening):
            raise ValueError(f"data.whiten {whiten!r} is none of {', '.join(get_args(Whitening))}")
        at_least(1, "data", batch_size=batch_size, eval_batch_size=eval_batch_size)
        self.whiten = whiten
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size

    def tables(self) -> "dict[str, tuple[NDArray[Any], NDArray[Any]]]":
        """Return split -> rows (N, dim) in float64 and answers (N,); there is a ``train``."""
        raise NotImplementedError

    def splits(self) -> dict[str, Any]:
        """Return the splits, written on first use."""
        from suexp.data.rows import open_rows

        folder = self._folder()
        return {
            name: open_rows(folder / f"{name}.arrow", f"{folder.name}-{name}")
            for name in ("train", "validation", "test")
            if (folder / f"{name}.arrow").exists()
        }

    def _folder(self) -> Path:
        name = f"{type(self).__name__.lower()}-{self.fingerprint()[:20]}"
        return cached(name, self._prepare)

    def _prepare(self, folder: Path) -> None:
        import numpy as np

        from suexp.data.rows import write_rows

        tables = self.tables()
        for name, (x, _) in tables.items():
            if not len(x):
                raise UserError(f"the {name} split has no rows")
        mean, basis = whitening(*tables["train"], self.whiten)
        for name, (x, label) in tables.items():
            white = whitened(x, mean, basis)
            kind = np.int64 if self.answer == "label" else np.float32
            table = {"x": white.astype(np.float32), self.answer: label.astype(kind)}
            write_rows(folder / f"{name}.arrow", [table])

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch of these rows."""
        return labelled(rows, self.answer, "int64" if self.answer == "label" else "float32")


def whitening(x: Any, label: Any, how: Whitening) -> tuple[Any, Any]:
    r"""Return $\mu$ and the matrix B for which $(x - \mu) B$ is white, or its diagonal; none: no B.

    B rescales the features and then turns them, so that it does not matter in what units they are.
    """
    import numpy as np

    mean = x.mean(0)
    if how == "none":
        return mean, None
    centred = x - mean
    if how == "within":
        centred = centred.copy()
        for number in np.unique(label):
            centred[label == number] -= centred[label == number].mean(0)
    variance = (centred**2).mean(0)
    # A column of one number has a variance of rounding errors.
    scale = np.where(variance > (1e-12 * mean) ** 2, _root(variance, 0.0), 0.0)
    if how == "standard":
        return mean, scale
    if len(scale) > bounds.COLUMNS:
        raise UserError(
            f"data.whiten={how} of {len(scale)} columns needs a matrix of "
            f"{bounds.size(8 * len(scale) ** 2)}; use data.whiten=standard"
        )
    scaled = centred * scale
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(x))
    return mean, scale[:, None] * vectors * _root(values, TINY)


def whitened(x: Any, mean: Any, basis: Any) -> Any:
    r"""Return $(x - \mu) B$; see `whitening`."""
    if basis is None:
        return x
    return (x - mean) * basis if basis.ndim == 1 else (x - mean) @ basis


def _root(variance: Any, share: float) -> Any:
    """Return one over the square roots; 0 for at most this share of the largest."""
    import numpy as np

    kept = variance > share * variance.max()
    return np.where(kept, 1 / np.sqrt(np.where(kept, variance, 1)), 0)


def stratified(label: Iterable[Any], fraction: float, seed: str) -> tuple[list[int], list[int]]:
    """Return the rows for training and those held out, in equal shares of every class.

    At least one row of a class stays for training.
    """
    from suexp.data.document import share

    kept: list[int] = []
    held: list[int] = []
    classes: dict[int, list[int]] = {}
    for row, number in enumerate(label):
        classes.setdefault(int(number), []).append(row)
    for number in sorted(classes):
        order = sorted(classes[number], key=lambda row: share(str(row), seed))
        out = min(round(len(order) * fraction), len(order) - 1)
        held += order[:out]
        kept += order[out:]
    return sorted(kept), sorted(held)
