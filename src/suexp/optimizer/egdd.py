"""Momentum whose gains and scale are moved by exponentiated gradient (arXiv:2202.00145)."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from suexp.errors import one_of
from suexp.optimizer._gains import Gains, check_bounds, clip_, whole
from suexp.optimizer.base import check, compute_dtype, evaluated, groups, wide

Scope = Literal["tensor", "global"]
_TINY = 1e-10  # beside a norm, as in the authors' code


class EGDD(Gains):
    r"""Momentum with a gain $\nu$ for each component and a scale s for each tensor.

    In order of execution, with momentum m = 0, mean gradient $\bar g = 0$, $\nu = s = 1$ at first,
    t = 1, 2, ... and products component by component:

        $s \leftarrow s \exp(\gamma_s \cos(g, m))$
        $\nu \leftarrow \nu \exp(\gamma_\nu\, \mathrm{sign}(g)\, \mathrm{sign}(\bar g))$
        $m \leftarrow \mu m + \eta \nu g$
        $\bar g \leftarrow \beta \bar g + (1 - \beta) g$
        $\theta \leftarrow (1 - \eta\lambda)\theta - s m$

    s and $\nu$ are then kept between their bounds. The first two lines read the momentum and the
    mean before this gradient enters them: otherwise it would agree with itself. Without
    ``use_directions`` the inner product $\langle g, m \rangle$ stands for its cosine, without
    ``use_signs`` $g\,\bar g / (1 - \beta^{\max(t - 1, 1)})$ for the signs; both then depend on the
    loss's scale, which signs and cosines do not. With both rates 0 it is SGD with momentum.

    The bounds decide how wrong $\eta$ may be: by 1,000 upwards with the defaults.

    Shapes: $\theta$, g, m, $\bar g$, $\nu$ are equal, of any shape; s is one number. The state is
    in at least float32. A sparse gradient is refused (UserError).

    References: https://kexue.fm/archives/8968; Amid et al., Step-size Adaptation Using
    Exponentiated Gradient Updates, arXiv:2202.00145, and their code, lingvo/core/egdd.py, where s
    is one number a tensor as here; the paper speaks of one for all.

    Args:
        params: parameters, or groups as `suexp.nn.param_groups.param_groups` makes them.
        lr: $\eta$.
        momentum: $\mu$; the code leaves it to the user.
        beta: $\beta$; 0.9 as in the code.
        gain_lr: $\gamma_\nu$; 0.01 as in the code.
        scale_lr: $\gamma_s$; 0.001 as in the code.
        min_gain: lower bound of $\nu$, 0.01 as in the code.
        max_gain: upper bound of $\nu$, 100 as in the code.
        min_scale: lower bound of s, 0.1 as in the code.
        max_scale: upper bound of s, 10 as in the code.
        use_directions: a cosine moves the scale.
        use_signs: signs move the gains.
        scale_scope: ``tensor``, an s for each; ``global``, one for all that step together.
        weight_decay: $\lambda$, decoupled, times the learning rate but neither gain nor scale.
        decay_embeddings: whether embedding tables decay.

    Raises:
        ValueError: lr not above 0, momentum or beta outside [0, 1), a negative rate or
            weight_decay, bounds that do not enclose 1, another scope, a complex parameter.

    Example:
        >>> import torch
        >>> from suexp.optimizer import EGDD
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> w.grad = torch.tensor([0.3, -5.0])
        >>> EGDD([w], lr=0.1).step()
        >>> w.data
        tensor([ 0.9700, -1.5000])
    """

    buffers: ClassVar[tuple[str, ...]] = ("momentum", "mean")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | int = 0.01,
        momentum: float | int = 0.9,
        beta: float | int = 0.9,
        gain_lr: float | int = 0.01,
        scale_lr: float | int = 0.001,
        min_gain: float | int = 1e-2,
        max_gain: float | int = 1e2,
        min_scale: float | int = 0.1,
        max_scale: float | int = 10.0,
        use_directions: bool = True,
        use_signs: bool = True,
        scale_scope: Scope = "tensor",
        weight_decay: float | int = 0.0,
        decay_embeddings: bool = True,
    ) -> None:
        check(lr, weight_decay, momentum, beta)
        for name, rate in (("gain_lr", gain_lr), ("scale_lr", scale_lr)):
            if not rate >= 0:
                raise ValueError(f"{name}={rate} must not be negative")
        check_bounds("gain", min_gain, max_gain)
        check_bounds("scale", min_scale, max_scale)
        one_of(get_args(Scope), scale_scope=scale_scope)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "beta": beta,
            "gain_lr": gain_lr,
            "scale_lr": scale_lr,
            "min_gain": min_gain,
            "max_gain": max_gain,
            "min_scale": min_scale,
            "max_scale": max_scale,
            "use_directions": use_directions,
            "use_signs": use_signs,
            "scale_scope": scale_scope,
            "weight_decay": weight_decay,
        }
        super().__init__(groups(params, decay_embeddings), defaults)

    def diagnostics(self) -> dict[str, float]:
        """Return mean and quantiles of the gains, and the mean of the scales."""
        scales = [float(whole(state["scale"])) for state in self.state.values()]
        return {**super().diagnostics(), "scale_mean": sum(scales) / len(scales)}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; a closure computes the loss anew, which is returned."""
        loss = evaluated(closure)
        found = [(group, *self.moving(group)) for group in self.param_groups]
        found = [(group, params, g) for group, params, g in found if params]
        for _, params, _ in found:
            for p in params:
                state = self.state[p]
                state.setdefault("scale", p.new_ones((), dtype=compute_dtype(p)))
                state["step"] = state.get("step", 0) + 1
        if found and self.param_groups[0]["scale_scope"] == "global":
            every = [p for _, params, _ in found for p in params]
            self._scale(self.param_groups[0], every, [g for *_, gs in found for g in gs])
        for group, params, g in found:
            if group["scale_scope"] == "tensor":
                self._scale(group, params, g)
            self._move(group, params, g)
        return loss

    def _scale(self, group: dict[str, Any], params: list[Tensor], g: list[Tensor]) -> None:
        """Move the scales, by the momentum as it was."""
        if not group["scale_lr"]:
            return
        scale, m = self.of("scale", params), self.of("momentum", params)
        products = [product.sum() for product in torch._foreach_mul(g, m)]
        lengths: list[list[Tensor]] = []
        if group["use_directions"]:
            lengths = [list(torch._foreach_norm(x)) for x in (g, m)]
        if group["scale_scope"] == "global":
            kind = products[0]
            total = torch.stack([x.to(kind) for x in products]).sum()
            lengths = [[torch.stack([x.to(kind) for x in n]).norm()] for n in lengths]
            products = [total]
        for n in lengths:  # not in place: sums over shards are still to be added up
            products = list(torch._foreach_div(products, torch._foreach_add(n, _TINY)))
        products = list(torch._foreach_exp(torch._foreach_mul(products, group["scale_lr"])))
        if len(products) < len(scale):
            products = [products[0].to(s) for s in scale]
        torch._foreach_mul_(scale, products)
        clip_(scale, group["min_scale"], group["max_scale"])

    def _move(self, group: dict[str, Any], params: list[Tensor], g: list[Tensor]) -> None:
        """Move gains, momentum, mean and parameters, in this order."""
        lr, beta = group["lr"], group["beta"]
        gain, m, mean = (self.of(name, params) for name in ("gain", "momentum", "mean"))
        if group["gain_lr"]:
            if group["use_signs"]:
                rise = list(torch._foreach_sign(mean))
                torch._foreach_mul_(rise, g)  # of a sign, lest two small numbers underflow
                torch._foreach_sign_(rise)
                torch._foreach_mul_(rise, group["gain_lr"])
            else:
                rise = list(torch._foreach_mul(mean, g))
                steps = [max(self.state[p]["step"] - 1, 1) for p in params]
                torch._foreach_mul_(rise, [group["gain_lr"] / (1 - beta**t) for t in steps])
            torch._foreach_exp_(rise)
            torch._foreach_mul_(gain, rise)
            clip_(gain, group["min_gain"], group["max_gain"])
        torch._foreach_mul_(m, group["momentum"])
        torch._foreach_addcmul_(m, gain, g, lr)
        torch._foreach_lerp_(mean, g, 1 - beta)
        scale = self.of("scale", params)
        with wide(params) as weights:
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - lr * group["weight_decay"])
            torch._foreach_addcmul_(weights, m, scale, -1)
