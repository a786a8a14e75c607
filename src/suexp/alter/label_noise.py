"""Wrong labels, by a law that is known."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from suexp.alter.base import Alter
from suexp.errors import UserError, one_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

Kind = Literal["symmetric", "pair"]


class LabelNoise(Alter):
    r"""$P(\tilde y = j \mid y) = 1 - \epsilon$ for $j = y$, and $\epsilon$ shared by other classes.

    With ``symmetric`` noise the C - 1 wrong classes are equally likely, $\epsilon / (C - 1)$ each;
    with ``pair`` noise class y is taken for $y + 1 \bmod C$. Rows are drawn one by one, so that the
    share of wrong labels is $\epsilon$ on average. The training rows' ``label`` becomes
    $\tilde y$; those of other splits stay right. In every split a batch also has ``clean_label``,
    y, ``noisy_label``, $\tilde y$, and ``is_dirty``, whether the two differ, each of shape
    (B,): for metrics alone.

    References: https://kexue.fm/archives/9526; pair noise of Han et al., Co-teaching,
    arXiv:1804.06872.

    Args:
        rate: $\epsilon$ in [0, 1].
        kind: ``symmetric`` or ``pair``.
        seed: of the draws.

    Raises:
        ValueError: a rate out of range, an unknown kind.
        UserError: rows without labels.

    Example:
        >>> import numpy as np, pyarrow as pa
        >>> from suexp.alter import LabelNoise
        >>> rows = pa.table({"label": np.array([0, 1, 2])})
        >>> LabelNoise(1.0, "pair").apply(
        ...     "train", rows, np.random.default_rng(0), {"num_classes": 3}
        ... )["label"].to_pylist()
        [1, 2, 0]
    """

    provides: ClassVar[set[str]] = {"label_noise"}
    needs: ClassVar[dict[str, str]] = {
        "classes": "it confuses classes; use task=classification",
        "labels": "it changes labels; use data=docstring_topic, or data=digits with model=mlp",
    }
    columns = ("clean_label", "noisy_label", "is_dirty")

    def __init__(self, rate: float = 0.2, kind: Kind = "symmetric", seed: int = 0) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"alter.label_noise.rate must lie in [0, 1], not {rate}")
        one_of(get_args(Kind), kind=kind)
        self.rate, self.kind, self.seed = rate, kind, seed

    def apply(
        self, split: str, table: "pa.Table", generator: "np.random.Generator", sizes: dict[str, int]
    ) -> "pa.Table":
        """Draw the labels of a split.

        Raises:
            UserError: rows without labels.
        """
        import pyarrow as pa

        if "label" not in table.column_names or "num_classes" not in sizes:
            raise UserError("alter=label_noise: the rows have no class; use data with labels")
        label = table["label"].to_numpy()
        noisy = self._drawn(label, sizes["num_classes"], generator)
        added = {"clean_label": label, "noisy_label": noisy, "is_dirty": noisy != label}
        for name, values in added.items():
            table = table.append_column(name, pa.array(values))
        if split == "train":
            place = table.column_names.index("label")
            table = table.set_column(place, "label", pa.array(noisy))
        return table

    def _drawn(
        self, label: "NDArray[Any]", classes: int, generator: "np.random.Generator"
    ) -> "NDArray[Any]":
        import numpy as np

        wrong = generator.random(len(label)) < self.rate
        symmetric = self.kind == "symmetric"
        shift = generator.integers(1, classes, len(label)) if symmetric else np.ones_like(label)
        return np.where(wrong, (label + shift) % classes, label).astype(label.dtype)
