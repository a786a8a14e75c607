"""What codes of a few active units are made of: sparse inputs, winners, and how well codes find."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Bag(NamedTuple):
    """Rows of zeros with a few ones, by the places of these.

    Attributes:
        places: where the ones are, padded with 0.
        keep: which of them are no padding.
        weight: what the learning rule multiplies the ones by.
    """

    places: Int[Tensor, "b n"]
    keep: Bool[Tensor, "b n"]
    weight: Float[Tensor, "b n"]


def drive(x: Float[Tensor, "b d"] | Bag, w: Float[Tensor, "k d"]) -> Float[Tensor, "b k"]:
    """Return $W x$; of bags without forming their rows."""
    if not isinstance(x, Bag):
        return x @ w.T
    ones = x.keep.to(w.dtype)
    return F.embedding_bag(x.places, w.T.contiguous(), per_sample_weights=ones, mode="sum")


def pull(
    x: Float[Tensor, "b d"] | Bag, w: Float[Tensor, "k d"], winner: Int[Tensor, " b"]
) -> Float[Tensor, " b"]:
    r"""Return $\langle W_\mu, x / p \rangle$ of each row's unit."""
    if not isinstance(x, Bag):
        return (w[winner] * x).sum(-1)
    return (w[winner[:, None], x.places] * x.weight).sum(-1)


def top(scores: Float[Tensor, "b k"], active: int) -> Bool[Tensor, "b k"]:
    """Return the largest entries of each row, of equal ones the first: on every device the same."""
    best = scores.argsort(dim=-1, descending=True, stable=True)[:, :active]
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, best, True)


def average_precision(
    similarity: Float[Tensor, "q n"], relevant: Bool[Tensor, "q n"], at: int
) -> Float[Tensor, " q"]:
    r"""Return $\sum_{i \le R} r_i P_i / \sum_{i \le R} r_i$, P_i the share of finds up to place i.

    Rows that are equally similar come in their order; a query that finds nothing has 0.
    """
    order = similarity.argsort(dim=-1, descending=True, stable=True)[:, :at]
    found = relevant.gather(1, order).to(similarity.dtype)
    places = torch.arange(1, found.shape[1] + 1, device=found.device)
    precision = found.cumsum(-1) / places
    return (precision * found).sum(-1) / found.sum(-1).clamp(min=1)
