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


def drive(
    x: Float[Tensor, "b d"] | Bag, w: Float[Tensor, "k d"], scaled: bool = False
) -> Float[Tensor, "b k"]:
    """Return $W x$, scaled $W x / p$; of bags without forming their rows."""
    if not isinstance(x, Bag):
        return x @ w.T
    ones = (x.weight if scaled else x.keep).to(w.dtype)
    return F.embedding_bag(x.places, w.T.contiguous(), per_sample_weights=ones, mode="sum")


def dense(bag: Bag, size: int) -> Float[Tensor, "b d"]:
    """Return the rows that bags stand for."""
    zeros = torch.zeros(len(bag.places), size, device=bag.places.device)
    return zeros.scatter_add(1, bag.places, bag.keep.to(zeros.dtype))


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


def nearest_agree(
    similarity: Float[Tensor, "n n"], other: Float[Tensor, "n n"], at: int
) -> Float[Tensor, " n"]:
    """Return what share of each item's nearest ``at`` by one similarity is so by another.

    An item is no neighbour of its own. Equally similar items have equal chances of the last places:
    codes of few bits have many of them. Two that have nothing to do with each other agree in a
    share of at / (n - 1).
    """
    return (_chances(similarity, at) * _chances(other, at)).sum(-1) / at


def _chances(similarity: Float[Tensor, "n n"], at: int) -> Float[Tensor, "n n"]:
    """Return how probably each item is among the nearest ones of each."""
    own = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    similarity = similarity.masked_fill(own, -torch.inf)
    last = similarity.topk(at, dim=-1).values[:, -1:]
    nearer, tied = similarity > last, similarity == last
    left = (at - nearer.sum(-1, keepdim=True)) / tied.sum(-1, keepdim=True)
    return nearer + left * tied
