"""Gradient descent whose learning rates follow from whether neighbouring gradients agree."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch

from suexp.optimizer._gains import Gains, check_bounds, clip_, copy_
from suexp.optimizer.base import check, evaluated, groups, wide


class EGDMeta(Gains):
    r"""Each component has a gain $\nu$ on its learning rate, moved by exponentiated gradient.

    The loss after a step $\theta_t = \theta_{t-1} - \eta \nu g_{t-1}$ has the gradient
    $-\eta g_{t-1} g_t$ by $\nu$ (all products are component by component): gradients that agree
    raise the gain, those that do not lower it. In order of execution, with $g_0 = 0$, $\nu_1 = 1$:

        $\nu_{t} = \nu_{t-1} \exp(\gamma\, g_{t-1} g_t)$,
        or by signs $\nu_{t-1} \exp(\gamma\,\mathrm{sign}(g_{t-1} g_t))$
        $\theta_t = (1 - \eta\lambda)\theta_{t-1} - \eta \nu_t g_t$

    The product is the post's formula. Its $\gamma$ has units of one over a squared gradient, so
    that another scale of the loss needs another $\gamma$; signs do not, and are the default. The
    exponent of a step is clipped, lest a spike of the gradient overflow it, and the gain is kept
    between two bounds.

    Shapes: $\theta$, g, $\nu$ are equal, of any shape. The state is $\nu$ and the last gradient, in
    at least float32. A sparse gradient is refused (UserError).

    References: https://kexue.fm/archives/8968; Amid et al., Step-size Adaptation Using
    Exponentiated Gradient Updates, arXiv:2202.00145.

    Args:
        params: parameters, or groups as `suexp.nn.param_groups.param_groups` makes them.
        lr: $\eta$.
        gamma: $\gamma$; 0.02 is ours, for signs.
        use_sign: signs in the place of the product.
        min_gain: lower bound of $\nu$; `EGDD`'s.
        max_gain: upper bound of $\nu$; `EGDD`'s.
        max_exponent: bound of a step's exponent.
        weight_decay: $\lambda$, decoupled, times the learning rate but not the gain.
        decay_embeddings: whether embedding tables decay.

    Raises:
        ValueError: lr not above 0, a negative gamma or weight_decay, max_exponent not above 0,
            bounds that do not enclose 1, a complex parameter.

    Example:
        >>> import torch
        >>> from suexp.optimizer import EGDMeta
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = EGDMeta([w], lr=0.1, gamma=0.5)
        >>> for g in ([1.0, 1.0], [1.0, -1.0]):
        ...     w.grad = torch.tensor(g)
        ...     optimizer.step()
        >>> w.data  # the second step is exp(0.5) as long, or exp(-0.5)
        tensor([ 0.7351, -2.0393])
    """

    buffers: ClassVar[tuple[str, ...]] = ("previous",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | int = 0.01,
        gamma: float | int = 0.02,
        use_sign: bool = True,
        min_gain: float | int = 1e-2,
        max_gain: float | int = 1e2,
        max_exponent: float | int = 1.0,
        weight_decay: float | int = 0.0,
        decay_embeddings: bool = True,
    ) -> None:
        check(lr, weight_decay)
        if not gamma >= 0:
            raise ValueError(f"gamma={gamma} must not be negative")
        if not max_exponent > 0:
            raise ValueError(f"max_exponent={max_exponent} must be above 0")
        check_bounds("gain", min_gain, max_gain)
        defaults = {
            "lr": lr,
            "gamma": gamma,
            "use_sign": use_sign,
            "min_gain": min_gain,
            "max_gain": max_gain,
            "max_exponent": max_exponent,
            "weight_decay": weight_decay,
        }
        super().__init__(groups(params, decay_embeddings), defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; a closure computes the loss anew, which is returned."""
        loss = evaluated(closure)
        for group in self.param_groups:
            params, g = self.moving(group)
            if not params:
                continue
            gain, previous = self.of("gain", params), self.of("previous", params)
            if group["use_sign"]:
                torch._foreach_sign_(previous)  # before the product, which may underflow
            torch._foreach_mul_(previous, g)
            if group["use_sign"]:
                torch._foreach_sign_(previous)
            torch._foreach_mul_(previous, group["gamma"])
            if not group["use_sign"] or group["gamma"] > group["max_exponent"]:
                torch._foreach_clamp_min_(previous, -group["max_exponent"])
                torch._foreach_clamp_max_(previous, group["max_exponent"])
            torch._foreach_exp_(previous)
            torch._foreach_mul_(gain, previous)
            clip_(gain, group["min_gain"], group["max_gain"])
            copy_(previous, g)
            with wide(params) as weights:
                if group["weight_decay"]:
                    torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_addcmul_(weights, gain, g, -group["lr"])
        return loss
