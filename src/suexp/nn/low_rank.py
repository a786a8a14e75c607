"""Factors of a low-rank change of a matrix, for networks and optimizers alike."""

import math
import zlib
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.errors import at_least, one_of

Start = Literal["a_zero", "b_zero", "symmetric", "both_zero"]
Law = Literal["gaussian", "peft"]
Variant = Literal["product", "additive"]


class LowRank(nn.Module):
    r"""$\Delta W = s\,U D$ of a weight W (m, n), $y = W x$: ``down`` D (r, n), ``up`` U (m, r).

    In the post's row convention, $Y = X W^\top$, these are $A = D^\top$ and $B = U^\top$; in peft's
    names lora_A is D and lora_B is U. $s = \alpha / r$. With G the gradient of the whole weight

        $\partial D = s\,U^\top G$, $\partial U = s\,G D^\top$

    The ``additive`` variant has $\Delta W_{ji} = s (D_{j \bmod r,\,i} + U_{j,\,i \bmod r})$, whose
    gradients are sums over rows and columns. Start values depend on ``seed`` and ``name`` alone:
    D ~ N(0, 1/n), or uniform with |D| at most $1/\sqrt n$ (``peft``), and U ~ N(0, 1/m); one of
    them, both or none are 0.

    References: https://kexue.fm/archives/9590; Hu et al., LoRA, arXiv:2106.09685.

    Args:
        weight: W, of which only shape, type and device matter.
        rank: r.
        alpha: $\alpha$; None: r.
        init: what is 0 at the start.
        law: of D's start.
        variant: ``product`` or ``additive``.
        seed: of the draws.
        name: of the weight.

    Raises:
        ValueError: a rank that does not fit the weight.
    """

    down: Tensor
    up: Tensor

    def __init__(
        self,
        weight: Float[Tensor, "m n"],
        rank: int,
        alpha: float | int | None = None,
        init: Start = "b_zero",
        law: Law = "gaussian",
        variant: Variant = "product",
        seed: int = 0,
        name: str = "",
    ) -> None:
        super().__init__()
        m, n = weight.shape
        if rank > min(m, n):
            raise ValueError(f"rank {rank} is more than {name} {m} x {n} has; lower it")
        if variant == "additive" and (m % rank or n % rank):
            raise ValueError(
                f"variant=additive: rank {rank} does not divide both sides of {name} {m} x {n}"
            )
        self.variant, self.scale = variant, (rank if alpha is None else alpha) / rank
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{name}".encode()))
        draw = torch.rand if law == "peft" else torch.randn
        down = draw(rank, n, generator=generator)
        down = (2 * down - 1 if law == "peft" else down) / math.sqrt(n)
        up = torch.randn(m, rank, generator=generator) / math.sqrt(m)
        zero = {"a_zero": (0, 1), "b_zero": (1, 0), "symmetric": (1, 1), "both_zero": (0, 0)}[init]
        wide = torch.promote_types(weight.dtype, torch.float32)
        self.down = nn.Parameter((zero[0] * down).to(weight.device, wide))
        self.up = nn.Parameter((zero[1] * up).to(weight.device, wide))

    def delta(self) -> Float[Tensor, "m n"]:
        """Return the change of the weight."""
        if self.variant == "product":
            return self.scale * (self.up @ self.down)
        m, n, r = len(self.up), self.down.shape[1], len(self.down)
        return self.scale * (self.down.repeat(m // r, 1) + self.up.repeat(1, n // r))

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b m"]:
        """Return what the change adds to y, without ever forming it."""
        if self.variant == "product":
            return nn.functional.linear(nn.functional.linear(x, self.down), self.scale * self.up)
        m, r = self.up.shape
        rows = nn.functional.linear(x, self.down).repeat(*(1,) * (x.dim() - 1), m // r)
        columns = nn.functional.linear(x.view(*x.shape[:-1], -1, r).sum(-2), self.up)
        return self.scale * (rows + columns)

    def project(self, gradient: Float[Tensor, "m n"]) -> None:
        """Leave in both factors the gradient that follows from the whole weight's, at once."""
        wide = gradient.to(self.down.dtype)
        if self.variant == "product":
            found = self.up.T @ wide, wide @ self.down.T
        else:
            m, n, r = *wide.shape, len(self.down)
            found = wide.view(m // r, r, n).sum(0), wide.view(m, n // r, r).sum(1)
        self.down.grad, self.up.grad = (self.scale * x for x in found)


def check_low_rank(
    rank: int, init: Start, law: Law, variant: Variant, allow_stationary: bool
) -> None:
    """Refuse settings with which no weight can be adapted.

    Raises:
        ValueError: a rank below 1, an unknown word, or factors that would never move.
    """
    at_least(1, rank=rank)
    one_of(get_args(Start), init=init)
    one_of(get_args(Law), init_law=law)
    one_of(get_args(Variant), variant=variant)
    if init == "both_zero" and variant == "product" and not allow_stationary:
        raise ValueError(
            "init=both_zero: A=B=0 is a stationary point, gradients of both are zero; set another "
            "init, or allow_stationary=true"
        )
