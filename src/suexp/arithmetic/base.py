"""The contract of every arithmetic: a product of numbers, and sums of products."""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from suexp.component import Component
from suexp.errors import one_of
from suexp.nn.linear import Multiplies

MOST = 2**20  # products that are held at once; beyond a cache's size it gets no faster


class Arithmetic(Component):
    r"""$x \odot y$ in the place of $xy$: in every linear map and convolution of a network.

    Products are added exactly, and a layer's bias, norms, activations, the scores of attention and
    the optimizer stay as they are. The gradients are what the chain rule says of exact products,
    $\bar x = \bar y\,W$ and $\bar W = \bar y^\top x$, with the same $\odot$ in them, or exact ones:
    a rule's own derivative may be of no use.

    Args:
        backward: ``same``, the gradients' products are of this rule, too; ``exact``.

    Raises:
        ValueError: another word; when attached, a network that multiplies by no matrix.
    """

    needs: ClassVar[dict[str, str]] = {
        "model or counter": "it multiplies for a model; use model=mlp with data=digits"
    }
    refuses: ClassVar[dict[str, str]] = {
        "second_order": "its products are differentiated once; leave the method or this out"
    }

    def __init__(self, backward: Literal["same", "exact"] = "same") -> None:
        one_of(("same", "exact"), backward=backward)
        self.backward = backward

    def multiply(self, x: Float[Tensor, "*#a"], y: Float[Tensor, "*#a"]) -> Float[Tensor, "..."]:
        r"""Return $x \odot y$, broadcast.

        Raises:
            ValueError: numbers of two types, or of a type that the rule does not know.
        """
        raise NotImplementedError

    def sums(self, x: Float[Tensor, "r i"], w: Float[Tensor, "o i"]) -> Float[Tensor, "r o"]:
        r"""Return $y_{ro} = \sum_i x_{ri} \odot w_{oi}$, added in float32 or wider."""
        wide = torch.promote_types(x.dtype, torch.float32)
        rows = max(1, MOST // max(w.numel(), 1))
        blocks = torch.split(x, rows)
        parts = [self.multiply(block[:, None], w).to(wide).sum(-1) for block in blocks]
        return torch.cat(parts).to(x.dtype)

    def linear(
        self, x: Float[Tensor, "*b i"], weight: Float[Tensor, "o i"], bias: Tensor | None = None
    ) -> Float[Tensor, "*b o"]:
        """Return $Wx + b$ by this rule, with gradients."""
        device = x.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            x, weight = x.to(dtype), weight.to(dtype)
        y = _Sums.apply(x.reshape(-1, x.shape[-1]), weight, self)  # type: ignore[no-untyped-call]
        y = y.view(*x.shape[:-1], len(weight))
        return y if bias is None else y + bias.to(y.dtype)

    def attach(self, model: nn.Module) -> None:
        """Let a network multiply by this rule.

        Raises:
            ValueError: it has nothing that asks for it.
        """
        found = [module for module in model.modules() if isinstance(module, Multiplies)]
        if not found:
            raise ValueError(
                f"{type(model).__name__} multiplies by no matrix; use model=mlp, or leave "
                "arithmetic out"
            )
        for module in found:
            module.product = self.linear


class _Sums(torch.autograd.Function):
    """Sums of products, and the sums that are their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, arithmetic: Arithmetic) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.arithmetic = arithmetic
        return arithmetic.sums(x, w)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, w = ctx.saved_tensors
        sums = ctx.arithmetic.sums if ctx.arithmetic.backward == "same" else F.linear
        asks_x, asks_w, _ = ctx.needs_input_grad
        return (
            sums(g, w.T.contiguous()) if asks_x else None,
            sums(g.T.contiguous(), x.T.contiguous()) if asks_w else None,
            None,
        )
