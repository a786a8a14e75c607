"""A prefix that is seen whole, then left to right: sequence to sequence in one network (UniLM)."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from suexp.mask.base import Mask


class Prefix(Mask):
    r"""$A_{ij} = [j \le i] \lor [j < p]$: a source token sees the whole source, a target the past.

    Shapes: query positions (n, 1), key positions (1, m), p one number or (batch,); table (n, m) or
    (batch, 1, n, m). With p = 0 or 1 it is the causal mask, with p = m the bidirectional one.

    Reference: Dong et al., UniLM, arXiv:1905.03197; https://kexue.fm/archives/6933.

    Args:
        length: p, the number of prefix tokens, the same in every text; None: each batch brings its
            own through ``bind(prefix_length=...)``, integers of shape (batch,).

    Raises:
        ValueError: a negative length, or one that is neither set nor bound when the mask is used.
    """

    provides = {"autoregressive", "pattern", "key_subsets", "later_keys", "fixed_prefix if length"}
    needs = {
        "prefix_length if length=None": "no batch brings one; set mask.length, or use task=seq2seq"
    }

    def __init__(self, length: int | None = None) -> None:
        if length is not None and length < 0:
            raise ValueError(f"the prefix length must be at least 0, not {length}")
        self._length: int | Int[Tensor, " b"] | None = length

    @property
    def length(self) -> int | Int[Tensor, " b"]:
        """The prefix length of every text, or one for each text of the bound batch."""
        if self._length is None:
            raise ValueError(
                "mask=prefix has no length: set mask.length, or use a task whose batches have one"
            )
        return self._length

    def bind(self, **facts: Tensor) -> "Prefix":
        """Return the mask of one batch if it brings ``prefix_length``, else this mask."""
        if self._length is not None or "prefix_length" not in facts:
            return self
        bound = Prefix(None)
        bound._length = facts["prefix_length"]
        return bound

    def select(self, rows: Int[Tensor, " r"]) -> "Prefix":
        """Return the mask of these texts."""
        if not isinstance(self._length, Tensor):
            return self
        chosen = Prefix(None)
        chosen._length = self._length[rows]
        return chosen

    def allowed(
        self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]
    ) -> Bool[Tensor, "*batch n m"]:
        """Return True for keys in the prefix and for keys at or before the query."""
        length = self.length
        if isinstance(length, Tensor):
            length = length.to(key.device)[:, None, None, None]
        return torch.logical_or(key <= query, key < length)
