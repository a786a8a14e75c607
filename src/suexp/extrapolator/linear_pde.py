"""The heat equation's two linear laws."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.errors import at_least, one_of
from suexp.extrapolator.base import Extrapolator

LONGEST = 64  # steps of euler, whose powers grow without bound


class LinearPDE(Extrapolator):
    r"""$u_x = A u$, $u_y = B u$: unseen features follow linearly from seen ones.

    They solve $u_{xx} + S u_{yy} = 0$, the heat equation at rest for vectors, wherever
    $A^2 + S B^2 = 0$, and both orders of steps agree where $AB = BA$. A cell k columns and l rows
    away gets $u = M_y^l M_x^k f$ from the nearest seen one, with $M^k = e^{kA}$ (``step=exp``) or
    $(I + sA)^{|k|}$, s the sign of k (``step=euler``): a step to the left is then $I - A$, not the
    inverse of the one to the right. Powers are made by doubling. Shapes: (b, dim, h, w) to
    (b, dim, H, W), A and B (dim, dim). They start small, so that it begins as a copy, have no
    weight decay, and are multiplied in float32 at least.

    Post: https://kexue.fm/archives/9359. Paper: Chen et al., Self-Supervised Learning based on Heat
    Equation, arXiv:2211.13228. That A serves both directions of an axis is the post's reading;
    ``exp``, ``mean`` and ``commute`` are ours.

    Args:
        dim: channels of a cell.
        step: ``exp`` or ``euler``.
        order: which axis is gone along first: ``xy``, ``yx``, or the ``mean`` of both.
        commute: ``none``; ``shared_basis``, $A = P D_A P^{-1}$, $B = P D_B P^{-1}$ with pairs of
            complex eigenvalues in D, an even dim.
        commute_weight: of $|AB - BA|^2 / (|A|^2 + |B|^2)$, which is added to the loss.

    Raises:
        ValueError: a value out of range; a basis of an odd dim; more than 64 steps of ``euler``.
    """

    parameter_kinds: ClassVar[dict[str, str]] = {  # gains have no decay
        "along_x": "gain",
        "along_y": "gain",
        "basis": "gain",
    }

    def __init__(
        self,
        dim: int,
        step: Literal["exp", "euler"] = "exp",
        order: Literal["xy", "yx", "mean"] = "xy",
        commute: Literal["none", "shared_basis"] = "none",
        commute_weight: float = 0.0,
    ) -> None:
        one_of(("exp", "euler"), step=step)
        one_of(("xy", "yx", "mean"), order=order)
        one_of(("none", "shared_basis"), commute=commute)
        at_least(0, commute_weight=commute_weight)
        if commute == "shared_basis" and dim % 2:
            raise ValueError(f"commute=shared_basis pairs channels: dim={dim} must be even")
        super().__init__(dim)
        self.step, self.order = step, order
        self.commute, self.commute_weight = commute, commute_weight
        shape = (dim // 2, 2) if commute == "shared_basis" else (dim, dim)
        scale = 0.02 / dim**0.5
        self.along_x = nn.Parameter(scale * torch.randn(shape))
        self.along_y = nn.Parameter(scale * torch.randn(shape))
        if commute == "shared_basis":
            self.basis = nn.Parameter(nn.init.orthogonal_(torch.empty(dim, dim)))

    @property
    def matrices(self) -> tuple[Float[Tensor, "c c"], Float[Tensor, "c c"]]:
        """A and B, in float32 at least."""
        kind = torch.promote_types(self.along_x.dtype, torch.float32)
        x, y = self.along_x.to(kind), self.along_y.to(kind)
        if self.commute == "none":
            return x, y
        basis = self.basis.to(kind)
        turned = (basis @ _pairs(rates) for rates in (x, y))
        a, b = (torch.linalg.solve(basis, one, left=False) for one in turned)
        return a, b

    def moved(
        self, start: Float[Tensor, "b c H W"], away_y: Tensor, away_x: Tensor
    ) -> Float[Tensor, "b c H W"]:
        """Return u."""
        most = max(len(away_x), len(away_y)) - 1
        if self.step == "euler" and most > LONGEST:
            raise ValueError(f"step=euler would take up to {most} steps, at most {LONGEST}")
        with torch.autocast(start.device.type, enabled=False):
            a, b = self.matrices
            u = start.to(a.dtype)
            along_x, along_y = self._moves(a, away_x), self._moves(b, away_y)
            found = []
            if self.order != "yx":
                found.append(_along_y(along_y, _along_x(along_x, u)))
            if self.order != "xy":
                found.append(_along_x(along_x, _along_y(along_y, u)))
            return torch.stack(found).mean(0) if len(found) > 1 else found[0]

    def _moves(self, rate: Float[Tensor, "c c"], away: Tensor) -> Float[Tensor, "n c c"]:
        """Return the matrix of each offset."""
        forth, back = (self.one_step(rate, sign) for sign in (1, -1))
        tables = torch.stack([powers(forth, len(away)), powers(back, len(away))])
        return tables[(away < 0).long(), away.abs()]

    def one_step(self, rate: Float[Tensor, "c c"], sign: int) -> Float[Tensor, "c c"]:
        """Return M of one step forth (sign 1) or back (-1)."""
        if self.step == "exp":
            return torch.matrix_exp(sign * rate)
        return torch.eye(self.dim, dtype=rate.dtype, device=rate.device) + sign * rate

    def penalty(self) -> Tensor | float:
        """Return commute_weight times how far the matrices are from commuting."""
        if not self.commute_weight:
            return 0.0
        a, b = self.matrices
        gap = (a @ b - b @ a).square().sum()
        return self.commute_weight * gap / (a.square().sum() + b.square().sum())

    @torch.no_grad()
    def figures(self, steps: int) -> dict[str, float]:
        """Return ``path_gap``, |AB - BA| / |A| |B|, and ``growth``, the larger log |M^steps|."""
        a, b = (matrix.double() for matrix in self.matrices)
        gap = torch.linalg.norm(a @ b - b @ a) / (torch.linalg.norm(a) * torch.linalg.norm(b))
        grown = [
            torch.linalg.matrix_norm(torch.linalg.matrix_power(self.one_step(m, sign), steps), 2)
            for m in (a, b)
            for sign in (1, -1)
        ]
        return {"path_gap": float(gap), "growth": float(torch.stack(grown).max().log())}


def powers(m: Float[Tensor, "c c"], count: int) -> Float[Tensor, "n c c"]:
    """Return I, M, ... M^(count - 1), in log2(count) products."""
    table = torch.eye(len(m), dtype=m.dtype, device=m.device)[None]
    while len(table) < count:
        table, m = torch.cat([table, m @ table]), m @ m
    return table[:count]


def _pairs(rates: Float[Tensor, "k 2"]) -> Float[Tensor, "c c"]:
    """Return the block-diagonal matrix of a + bi as [[a, -b], [b, a]]."""
    real, imaginary = rates.unbind(1)
    blocks = torch.stack(
        [torch.stack([real, -imaginary], -1), torch.stack([imaginary, real], -1)], 1
    )
    pair = torch.arange(len(rates), device=rates.device)
    table = rates.new_zeros(len(rates), len(rates), 2, 2).index_put((pair, pair), blocks)
    return table.transpose(1, 2).flatten(2).flatten(0, 1)


def _along_x(moves: Float[Tensor, "n c c"], u: Tensor) -> Tensor:
    return torch.einsum("wcd,bdhw->bchw", moves, u)


def _along_y(moves: Float[Tensor, "n c c"], u: Tensor) -> Tensor:
    return torch.einsum("hcd,bdhw->bchw", moves, u)
