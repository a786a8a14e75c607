"""Taylor softmax: an even Taylor polynomial in the place of the exponential."""

import functools
import math
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.normalizer.base import Normalizer, at_least_float32

GRADIENTS = ("finite", "infinite")
HIGHEST = 30


@functools.cache
def roots(order: int) -> tuple[complex, ...]:
    r"""Return the roots of $f_n(x) = \sum_{k \le n} x^k/k!$ above the real axis; n is even.

    There are n/2: a polynomial without a real zero has its roots in pairs.
    """
    import numpy as np

    # In units of n all coefficients are of moderate size.
    found = np.roots([order**k / math.factorial(k) for k in range(order, -1, -1)]) * order
    found = found[found.imag > 0]
    for _ in range(2):  # Newton's steps: the slope of f_n is f_n without its last term
        last, slope = np.ones_like(found), np.ones_like(found)
        for k in range(1, order + 1):
            last = last * found / k
            slope = slope + last if k < order else slope
        found = found - (slope + last) / slope
    return tuple(complex(root) for root in found)


class LogTaylor(torch.autograd.Function):
    r"""$\log f_n(x) = \sum_j \log(|x - r_j|^2 / |r_j|^2)$ over the roots above the real axis.

    Every term is positive before the logarithm, so nothing cancels where powers of both signs
    would, and nothing overflows. The slope is $\sum_j 2 (x - \Re r_j) / |x - r_j|^2$, or 1.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, order: int, finite: bool) -> Tensor:
        """Return the logarithm."""
        del finite
        total = torch.zeros_like(x)
        for root in roots(order):
            total += (_distance(x, root) / abs(root)).log_()
        return total.mul_(2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int, bool], output: Tensor) -> None:
        """Keep x alone."""
        del output
        x, ctx.order, ctx.finite = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient for x; it can be differentiated again."""
        if not ctx.finite:
            return grad, None, None
        (x,) = ctx.saved_tensors
        slope = torch.zeros_like(x)
        for root in roots(ctx.order):
            distance = _distance(x, root)
            slope = slope + (x - root.real) / distance / distance
        return 2 * slope * grad, None, None


def _distance(x: Tensor, root: complex) -> Tensor:
    """Return |x - root|, also where its square would overflow."""
    return torch.hypot(x - root.real, torch.full_like(x, root.imag))


def log_taylor(x: Float[Tensor, "*b"], order: int, finite: bool = True) -> Float[Tensor, "*b"]:
    r"""Return $\log f_n(x)$ for an even n."""
    result: Tensor = LogTaylor.apply(x, order, finite)  # type: ignore[no-untyped-call]
    return result


class Taylor(Normalizer):
    r"""$p_i = f_n(z_i) / \sum_j f_n(z_j)$ with $f_n(z) = \sum_{k \le n} z^k / k!$.

    For even n f_n is positive everywhere: $f_n' = f_{n-1}$, so that an extremum has
    $f_{n-1} = 0$ and $f_n = z^n/n! > 0$. It has one minimum, below 0, and grows on both sides: a
    very negative score gets a large probability, and the largest p need not be that of the largest
    z. Neither is p the same for z plus a constant. Shapes: z (..., C).

    References: https://kexue.fm/archives/7919; de Brebisson and Vincent, An Exploration of Softmax
    Alternatives Belonging to the Spherical Loss Family, arXiv:1511.05042; Banerjee et al.,
    Exploring Alternatives to Softmax Function, arXiv:2011.11538.

    Args:
        order: n, even, at most 30: by then it is softmax for all scores that occur.
        gradient: ``finite``, that of f_n, whose slope f_{n-1} vanishes at the minimum;
            ``infinite``, the slope taken as f_n itself, so that cross-entropy has softmax's
            gradient $p - \mathrm{onehot}$ (the paper's second form).

    Raises:
        ValueError: an order that is odd, below 2 or above 30; an unknown gradient.
    """

    provides: ClassVar[set[str]] = {"other_weights"}

    def __init__(self, order: int = 2, gradient: Literal["finite", "infinite"] = "finite") -> None:
        super().__init__()
        if order % 2 or order < 2:
            raise ValueError(
                f"order {order}: Taylor order must be even (f_n of odd order takes negative "
                "values) and at least 2"
            )
        if order > HIGHEST:
            raise ValueError(
                f"order {order}: at most {HIGHEST}; use normalizer=softmax, which it then equals"
            )
        if gradient not in GRADIENTS:
            raise ValueError(f"gradient must be one of {', '.join(GRADIENTS)}, not {gradient!r}")
        self.order, self.gradient = order, gradient

    def log_weights(self, z: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        r"""Return $\log f_n(z)$."""
        return log_taylor(at_least_float32(z), self.order, self.gradient == "finite")

    def extra_repr(self) -> str:
        """Return what the constructor was given."""
        return f"order={self.order}, gradient={self.gradient}"
