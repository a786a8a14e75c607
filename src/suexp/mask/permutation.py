"""One token after another in any order: a permuted language model."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from suexp.mask.base import Mask


class Permutation(Mask):
    r"""$A_{ij} = [r_j \le r_i]$ with the rank $r$ of each place in the order $z$: $r_{z_t} = t$.

    Token $z_t$ sees $z_1, \dots, z_t$. It equals the causal mask over the tokens in the order z
    that keep their own positions; the identity is the causal mask itself. Shapes: query positions
    (n, 1), key positions (1, m), order (m,) or (batch, m); table (n, m) or (batch, 1, n, m).

    Reference: Yang et al., XLNet, arXiv:1906.08237; https://kexue.fm/archives/6933.

    Args:
        order: the places z, from 0, in the order in which they are read, the same in every text;
            None: each batch brings its own through ``bind(order=...)``, integers (batch, m).

    Raises:
        ValueError: an order that is no permutation, that is neither set nor bound when the mask is
            used, or of another length than the text.
    """

    provides = {"pattern", "key_subsets", "later_keys"}
    needs = {"order if order=None": "no batch brings one; set mask.order, or use mask=causal"}
    undecodable = "the token asked for next may stand anywhere"

    def __init__(self, order: Sequence[int] | None = None) -> None:
        self._rank: Int[Tensor, " m"] | Int[Tensor, "b m"] | None = None
        if order is not None:
            if sorted(order) != list(range(len(order))):
                raise ValueError(
                    f"mask.order must hold each place from 0 to {len(order) - 1} once, "
                    f"not {list(order)}"
                )
            self._rank = torch.tensor(list(order)).argsort()

    def bind(self, **facts: Tensor) -> "Permutation":
        """Return the mask of one batch if it brings ``order``, else this mask."""
        if self._rank is not None or "order" not in facts:
            return self
        return self._with(facts["order"].argsort(-1))

    def select(self, rows: Int[Tensor, " r"]) -> "Permutation":
        """Return the mask of these texts."""
        return self if self._rank is None or self._rank.ndim == 1 else self._with(self._rank[rows])

    @staticmethod
    def _with(rank: Tensor) -> "Permutation":
        bound = Permutation()
        bound._rank = rank
        return bound

    def allowed(
        self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]
    ) -> Bool[Tensor, "*batch n m"]:
        """Return True for keys that come no later than the query in the order."""
        if self._rank is None:
            raise ValueError(
                "mask=permutation has no order: set mask.order, or bring one with each batch"
            )
        if self._rank.shape[-1] != key.shape[1]:
            raise ValueError(
                f"the order has {self._rank.shape[-1]} places, the text {key.shape[1]}"
            )
        rank = self._rank.to(key.device)
        of_query, of_key = rank[..., query[:, 0].clamp(min=0)], rank[..., key[0]]
        table = of_key[..., None, :] <= of_query[..., :, None]
        return table if rank.ndim == 1 else table[:, None]
