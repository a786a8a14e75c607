"""Curvature of a linear layer's squared loss, by what is done to its input."""

import torch
from jaxtyping import Float
from torch import Tensor

FORMS = ("raw", "center", "scale", "standard")


def hessians(
    c: Float[Tensor, "d d"], m: Float[Tensor, " d"], bias: bool = True
) -> dict[str, Float[Tensor, "n n"]]:
    r"""Return the Hessian of $\frac12 E|y - \langle x, w\rangle - b|^2$ for each form of the input.

    With $C = E[x x^\top]$ and $m = E[x]$ it is C for w alone, and with b, n = d + 1,
    $\begin{pmatrix} C & m \\ m^\top & 1 \end{pmatrix}$. Forms: ``raw``, x; ``center``, $x - m$;
    ``scale``, x by its deviation; ``standard``, $x - m$ by its deviation. A feature that never
    changes becomes 0 where it is divided.

    Reference: https://kexue.fm/archives/6992; Santurkar et al., arXiv:1805.11604.
    """
    centred, zero = c - torch.outer(m, m), torch.zeros_like(m)
    found = {}
    for form in FORMS:
        square, mean = (centred, zero) if form in ("center", "standard") else (c, m)
        if form in ("scale", "standard"):
            sizes = centred.diagonal().clamp(min=0)
            # What is left of a constant by rounding is none of its variance.
            kept = sizes > 1e-12 * c.diagonal().clamp(min=0)
            factor = torch.where(kept, sizes, 1.0).rsqrt() * kept
            square, mean = square * torch.outer(factor, factor), mean * factor
        if bias:
            top = torch.cat([square, mean[:, None]], 1)
            square = torch.cat([top, torch.cat([mean, mean.new_ones(1)])[None]])
        found[form] = square
    return found


def largest_stable_rate(h: Float[Tensor, "n n"], steps: int = 1000) -> float:
    r"""Return the largest rate at which gradient descent on $\frac12 w^\top H w$ does not grow.

    It is found by descending, at 16 rates at once, between 2 over the trace and 2 n over it, thrice
    the finer: no eigenvalue is looked at. Theory says $2/\lambda_{\max}$.
    """
    n = len(h)
    start = torch.randn(n, 1, generator=torch.Generator().manual_seed(0), dtype=h.dtype).to(h)
    before = (start * (h @ start)).sum()
    low, high = 2 / float(h.trace()), 2 * n / float(h.trace())
    for _ in range(3):
        rates = torch.logspace(0, 1, 16, base=high / low, dtype=h.dtype, device=h.device) * low
        w = start.expand(n, 16)
        for _ in range(steps):
            w = w - rates * (h @ w)
        after = (w * (h @ w)).sum(0)
        stable = int((after <= before).sum())  # what has become infinite is not
        low, high = float(rates[max(stable - 1, 0)]), float(rates[min(stable, 15)])
    return low
