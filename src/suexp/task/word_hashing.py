"""Codes of words, from the words around them."""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.errors import UserError, at_least, one_of
from suexp.nn.cooccurrence import cosine, ppmi, truncated
from suexp.nn.hashing import Bag, dense, nearest_agree
from suexp.task._codes import LearnedCodes

LOOKED_AT = 20_000  # training rows whose winners are counted
AT_ONCE = 1_000  # words whose counts are dense at a time


class WordHashing(LearnedCodes):
    r"""Learn codes of words with the words around them, and compare the nearest with other text's.

    Batches are bags x of (context; word) in $\{0, 1\}^{2V}$, with x / p, see
    `suexp.data.ngram_bags`. The code of a word t is that of the bag of t alone (``words=static``):
    the k units of largest $W_{\cdot, V + t}$. Random projections learn nothing about a word from
    such a bag; they code its row of training counts (``contexts``), or the ``svd_dim`` leading
    components of its training PPMI (``svd``), and so can learned units.

    Truth is the cosine of rows of PPMI, $\max(0, \log n_{ij} N / n_i n_j)$, over the validation
    split. For validation, over the ``num_words`` most frequent words: ``neighbours``, the share of
    the nearest ``neighbours`` words by code that are so by truth; ``spearman``, the rank
    correlation of both similarities over all pairs. Without codes: ``svd_neighbours`` and
    ``ppmi_neighbours``, by the training split's own PPMI, reduced or whole, and
    ``chance_neighbours``. Beside it ``energy``, ``train_energy`` and ``alive``, over evenly spaced
    training rows. The table ``neighbours`` has the nearest of ``shown``.

    Post: https://kexue.fm/archives/8159. Papers: Liang et al., Can a Fruit Fly Learn Word
    Embeddings?, arXiv:2101.06887; Levy and Goldberg, Neural Word Embedding as Implicit Matrix
    Factorization, NeurIPS 2014 (PPMI and its SVD).

    Args:
        words: what is coded for a word: ``static``, ``contexts`` or ``svd``.
        num_words: words that are compared.
        neighbours: how many are near.
        svd_dim: components.
        shown: words whose neighbours are recorded.

    Raises:
        ValueError: another name, a number below 1.
        UserError: too few words or training rows; a word of ``shown`` that is not among them.
    """

    needs: ClassVar[dict[str, str]] = {
        "bags": "it codes words by those around them; use data=ngram_bags",
        "hash": "it learns codes; use model=hash_bio",
    }

    def __init__(
        self,
        words: Literal["static", "contexts", "svd"] = "static",
        num_words: int = 800,
        neighbours: int = 10,
        svd_dim: int = 100,
        shown: Sequence[str] = (),
        **parts: Any,
    ) -> None:
        one_of(("static", "contexts", "svd"), words=words)
        at_least(1, "task", neighbours=neighbours, svd_dim=svd_dim)
        if num_words <= neighbours:
            raise ValueError(
                f"task.num_words must be above neighbours={neighbours}, not {num_words}"
            )
        super().__init__(**parts)
        self.words, self.num_words, self.neighbours = words, num_words, neighbours
        self.svd_dim, self.shown = svd_dim, list(shown)

    def on_fit_start(self) -> None:
        """Refuse before training what could not be measured.

        Raises:
            UserError: too few words or training rows; a shown word that is not compared.
        """
        known = self.data.words[: self.num_words]  # type: ignore[attr-defined]
        if len(known) < self.num_words:
            raise UserError(
                f"task.num_words={self.num_words}: the text has {len(known)} words; set "
                f"task.num_words={len(known)}, or less"
            )
        if self.svd_dim >= self.num_words:
            raise UserError(f"task.svd_dim={self.svd_dim} must be below num_words={self.num_words}")
        for word in self.shown:
            if word not in known:
                raise UserError(
                    f"task.shown: {word!r} is not among the {len(known)} most frequent words"
                )
        super().on_fit_start()

    def inputs(self, batch: dict[str, Tensor]) -> Bag:
        """Return what the model codes."""
        return Bag(batch["places"], batch["keep"], batch["weight"])

    def beginnings(self, count: int) -> Tensor:
        """Return so many training rows, or all that there are."""
        rows = torch.randperm(len(self.data.splits()["train"]))[:count].tolist()
        return dense(self.inputs(self.batch_of("train", rows)), self.data.sizes["input_dim"])

    def training_rows(self) -> Bag:
        """Return evenly spaced training rows."""
        total = len(self.data.splits()["train"])
        return self.inputs(self.batch_of("train", list(range(0, total, -(-total // LOOKED_AT)))))

    @functools.cached_property
    def _counts(self) -> Any:
        return self.data.context_counts("train")  # type: ignore[attr-defined]

    @functools.cached_property
    def _components(self) -> Float[Tensor, "v c"]:
        return truncated(ppmi(self._counts), self.svd_dim)

    @functools.cached_property
    def _truth(self) -> Float[Tensor, "n n"]:
        held_out = self.data.context_counts("validation")  # type: ignore[attr-defined]
        return cosine(ppmi(held_out)[: self.num_words])

    @functools.cached_property
    def _without_codes(self) -> dict[str, float]:
        """What the training split's own statistics find."""
        by = {
            "svd": cosine(self._components[: self.num_words]),
            "ppmi": cosine(ppmi(self._counts)[: self.num_words]),
        }
        found = {
            f"{name}_neighbours": float(nearest_agree(x, self._truth, self.neighbours).mean())
            for name, x in by.items()
        }
        found["svd_spearman"] = self._spearman(by["svd"])
        return found | {"chance_neighbours": self.neighbours / (self.num_words - 1)}

    def codes(self, numbers: Sequence[int]) -> Tensor:
        """Return the codes of words, (n, K)."""
        found = [
            self.model.encode(self.input_of(numbers[start : start + AT_ONCE]))
            for start in range(0, len(numbers), AT_ONCE)
        ]
        return torch.cat(found)

    def input_of(self, numbers: Sequence[int]) -> Tensor | Bag:
        """Return what is coded for words."""
        size = self.data.sizes["input_dim"]
        if self.words == "static":
            places = torch.tensor(numbers, device=self.device)[:, None] + size // 2
            return Bag(places, torch.ones_like(places, dtype=torch.bool), torch.ones_like(places))
        if self.words == "svd":
            known = self._components[list(numbers)]
        else:
            known = torch.from_numpy(self._counts[list(numbers)].toarray())
        rows = torch.zeros(len(numbers), size, device=self.device)
        rows[:, : known.shape[1]] = known.to(rows)
        return rows

    @torch.no_grad()
    def found(self) -> dict[str, Any]:
        """Compare the words' codes with truth."""
        codes = self.codes(range(self.num_words))
        near = self.model.similarity(codes, codes).double().cpu()
        self._show(near)
        found = {
            "neighbours": nearest_agree(near, self._truth, self.neighbours).mean(),
            "spearman": self._spearman(near),
        }
        return found | self._without_codes

    def _spearman(self, near: Tensor) -> float:
        from scipy.stats import spearmanr

        above = torch.triu_indices(len(near), len(near), offset=1)
        pair = (similarity[above[0], above[1]].numpy() for similarity in (near, self._truth))
        return float(spearmanr(*pair).statistic)

    def _show(self, near: Tensor) -> None:
        words = self.data.words  # type: ignore[attr-defined]
        self.tables.pop("neighbours", None)
        for word in self.shown:
            row = near[words.index(word)].clone()
            row[words.index(word)] = -torch.inf
            best = row.argsort(descending=True, stable=True)[: self.neighbours].tolist()
            rows = [
                {"word": word, "rank": i + 1, "neighbour": words[j], "similarity": float(row[j])}
                for i, j in enumerate(best)
            ]
            self.record_rows("neighbours", rows)

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        worst = {f"{split}/energy": 0.0, f"{split}/neighbours": 0.0, f"{split}/spearman": -1.0}
        return super().worst(split) | worst
