"""No position code."""

from suexp.position.base import Position


class NONE(Position):
    r"""$x_i \mapsto x_i$: tokens carry no position.

    An encoder is then a function of the set of its tokens (b, n, c); a causal decoder still learns
    where a token stands, from how many others it may look at.

    Reference: Haviv et al., Transformer Language Models without Positional Encodings Still Learn
    Positional Information, arXiv:2203.16634.
    """
