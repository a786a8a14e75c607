"""Find one of many random keys again: a test of attention that texts of any length can be."""

from typing import Any, ClassVar

from suexp.data.base import Data
from suexp.errors import at_least


class Recall(Data):
    r"""Keys $k_i \sim N(0, I)$, n of them, each with a label; which has $q = k_j + \sigma\epsilon$?

    The answer is the label of $k_j$. A batch holds ``x`` (B, n + 1, key_dim + num_classes) in
    float32, rows $(k_i, \mathrm{onehot}(y_i))$ and last $(q, 0)$, and ``label`` (B,). A text is
    drawn when it is read, from a generator seeded by its number. Places tell nothing; use
    position=none and model.pool=last.

    References: associative recall of Graves et al., Neural Turing Machines, arXiv:1410.5401,
    section 4.3; how attention dilutes with n, https://kexue.fm/archives/8823 and
    https://kexue.fm/archives/9034.

    Args:
        length: n.
        key_dim: size of a key.
        num_classes: C.
        noise: $\sigma$.
        num_train: texts for training.
        num_validation: texts for validation.
        batch_size: texts of a training step.
        eval_batch_size: texts of an evaluation step.
        seed: of the draws; the run's own seed does not change them.

    Raises:
        ValueError: a number out of range.
    """

    # Sequences of vectors, which models read as they read an image's patches.
    provides: ClassVar[set[str]] = {"patches", "labels", "recall"}

    def __init__(
        self,
        length: int = 32,
        key_dim: int = 16,
        num_classes: int = 16,
        noise: float = 0.3,
        num_train: int = 200_000,
        num_validation: int = 1024,
        batch_size: int = 64,
        eval_batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        at_least(
            1,
            "data",
            length=length,
            key_dim=key_dim,
            num_classes=num_classes,
            num_train=num_train,
            num_validation=num_validation,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
        )
        if noise < 0:
            raise ValueError(f"data.noise must not be negative, not {noise}")
        self.length, self.key_dim, self.num_classes, self.noise = (
            length,
            key_dim,
            num_classes,
            noise,
        )
        self.num_train, self.num_validation, self.seed = num_train, num_validation, seed
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size

    def splits(self) -> dict[str, Any]:
        """Return the two splits, which hold the numbers of their texts."""
        import numpy as np
        from datasets.table import InMemoryTable

        from suexp.data.rows import Rows

        # Validation comes first: it is the same for any amount of training.
        ends = {"validation": (0, self.num_validation)}
        ends["train"] = (self.num_validation, self.num_validation + self.num_train)
        splits = {}
        for name in ("train", "validation"):
            table = InMemoryTable.from_pydict({"index": np.arange(*ends[name])})
            rows = Rows(table, fingerprint=f"{self.fingerprint()[:40]}-{name}")
            splits[name] = rows.with_format("numpy")
        return splits

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Draw the texts of these numbers."""
        import numpy as np
        import torch

        x = np.zeros((len(rows), self.length + 1, self.key_dim + self.num_classes), np.float32)
        label = np.empty(len(rows), np.int64)
        for text, row in enumerate(rows):
            random = np.random.default_rng([self.seed, int(row["index"])])
            keys = random.standard_normal((self.length, self.key_dim), np.float32)
            labels = random.integers(self.num_classes, size=self.length)
            asked = random.integers(self.length)
            query = keys[asked] + self.noise * random.standard_normal(self.key_dim, np.float32)
            x[text, :-1, : self.key_dim], x[text, -1, : self.key_dim] = keys, query
            x[text, np.arange(self.length), self.key_dim + labels] = 1
            label[text] = labels[asked]
        return {"x": torch.from_numpy(x), "label": torch.from_numpy(label)}

    @property
    def sizes(self) -> dict[str, int]:
        """Key and label side by side; a class for each label."""
        return {
            "vocab_size": 0,
            "input_dim": self.key_dim + self.num_classes,
            "num_classes": self.num_classes,
        }

    def depends_on(self) -> Any:
        """Return the arguments."""
        sizes = [self.length, self.key_dim, self.num_classes, self.noise]
        return [*sizes, self.num_train, self.num_validation, self.seed]
