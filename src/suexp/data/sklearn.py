"""The tables that come with scikit-learn."""

from typing import Any, ClassVar, Literal, get_args

from suexp.data.document import share
from suexp.data.vectors import Vectors, Whitening, stratified
from suexp.errors import at_least

Name = Literal["breast_cancer", "wine", "iris", "digits", "diabetes"]
SIZES = {  # features, classes; 0: a number instead
    "breast_cancer": (30, 2),
    "wine": (13, 3),
    "iris": (4, 3),
    "digits": (64, 10),
    "diabetes": (10, 0),
}


class Sklearn(Vectors):
    r"""Real tables of 150 to 1,797 rows: vectors $z = (x - \mu) B$ and labels, with no download.

    breast_cancer (569 rows, 30 features, 2 classes), wine (178, 13, 3), iris (150, 4, 3), digits
    (1,797, 64, 10). Equal shares of every class are held out, chosen by ``split_seed``; $\mu$ and B
    are those of the training rows. A batch holds ``x`` (B, dim), float32, and ``label`` (B,).

    diabetes (442 rows, 10 features) has numbers instead of labels, ``target`` (B,): the progress of
    the disease, less the training rows' mean and over their standard deviation, 77 or so.

    Reference: https://scikit-learn.org/stable/datasets/toy_dataset.html; whitened as in
    https://kexue.fm/archives/8578.

    Args:
        name: breast_cancer, wine, iris, digits or diabetes.
        whiten: ``none``; ``standard``, each feature by its own deviation; ``total`` and
            ``within``, together, by the covariance of all rows or within classes.
            Directions without variance become 0.
        columns: numbers of the features that are kept; null: all.
        batch_size: rows of a training step; a large number: all of them.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of every class that is held out.
        split_seed: which rows are held out.
        max_rows: the most rows that training reads, chosen by ``split_seed``; None: all. The others
            stay whole.

    Raises:
        ValueError: a value out of range.
    """

    provides: ClassVar[set[str]] = {
        "vectors",
        "labels if name=breast_cancer",
        "labels if name=wine",
        "labels if name=iris",
        "labels if name=digits",
        "quantities if name=diabetes",
        "plane if len(columns)=2",
    }

    def __init__(
        self,
        name: Name = "breast_cancer",
        whiten: Whitening = "standard",
        columns: list[int] | None = None,
        batch_size: int = 32,
        eval_batch_size: int = 512,
        val_fraction: float = 0.25,
        split_seed: int = 0,
        max_rows: int | None = None,
    ) -> None:
        super().__init__(whiten, batch_size, eval_batch_size)
        if name not in get_args(Name):
            raise ValueError(f"data.name {name!r} is none of {', '.join(get_args(Name))}")
        if not 0 < val_fraction < 1:
            raise ValueError(f"data.val_fraction must lie between 0 and 1, not {val_fraction}")
        at_least(1, "data", max_rows=max_rows)
        if whiten == "within" and not SIZES[name][1]:
            raise ValueError(f"data.whiten=within: {name} has no classes; use data.whiten=total")
        features = SIZES[name][0]
        if columns is not None and not (
            columns and len(set(columns)) == len(columns) and set(columns) <= set(range(features))
        ):
            raise ValueError(
                f"data.columns must be different numbers from 0 to {features - 1}, not {columns}"
            )
        self.name, self.columns = name, columns
        self.val_fraction, self.split_seed = val_fraction, split_seed
        self.max_rows = max_rows
        self.answer = "label" if SIZES[name][1] else "target"

    def tables(self) -> dict[str, tuple[Any, Any]]:
        """Return the two splits."""
        from sklearn import datasets

        x, label = getattr(datasets, f"load_{self.name}")(return_X_y=True)
        if self.columns is not None:
            x = x[:, self.columns]
        seed = f"{self.name}/{self.split_seed}"
        numbers = self.answer == "target"
        kept, held = stratified([0] * len(x) if numbers else label, self.val_fraction, seed)
        if self.max_rows is not None:
            kept = sorted(
                sorted(kept, key=lambda row: share(str(row), f"{seed}/rows"))[: self.max_rows]
            )
        if numbers:
            label = (label - label[kept].mean()) / (label[kept].std() or 1.0)
        return {"train": (x[kept], label[kept]), "validation": (x[held], label[held])}

    @property
    def sizes(self) -> dict[str, int]:
        """Return the number of features and of classes."""
        features, classes = SIZES[self.name]
        sizes = {"input_dim": len(self.columns or range(features))}
        return {**sizes, "num_classes": classes} if classes else sizes

    def depends_on(self) -> Any:
        """Return the choices, and scikit-learn's version."""
        from importlib.metadata import version

        choice = [self.name, self.whiten, self.columns, self.val_fraction, self.split_seed]
        choice += [self.max_rows]
        return [*choice, version("scikit-learn")]
