"""Exponentiated gradient descent: parameters are multiplied, not moved."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from suexp.optimizer.base import Buffered, check, evaluated, groups, wide


class EGD(Buffered):
    r"""$\theta \leftarrow \theta \exp(-\eta g)$ for parameters above 0, which stay so.

    That is gradient descent on $\log\theta$ without the factor $\theta$, and the exact minimiser of
    $\eta\langle g, \theta\rangle + \sum(\theta \log(\theta/\theta_t) - \theta + \theta_t)$. All
    products are component by component; $\eta g$ is clipped. With ``normalize`` the last axis then
    is divided by its sum: $\theta$ is a distribution, $\mathrm{softmax}(\log\theta - \eta g)$.

    Signed parameters are differences $\theta = u - v$ of two such, with gradients g and -g
    (EG$\pm$). As $uv$ never changes, no state is needed: with $uv = b^2/4$,

        $\theta \leftarrow b \sinh(\mathrm{arsinh}(\theta/b) - \eta g)$

    additive near 0, multiplicative far beyond b. Weight decay comes first:
    $\theta \leftarrow (1 - \eta\lambda)\theta$.

    Shapes: $\theta$, g are equal, of any shape. A sparse gradient is refused (UserError).

    References: https://kexue.fm/archives/8968; Kivinen & Warmuth, Exponentiated Gradient versus
    Gradient Descent for Linear Predictors, https://doi.org/10.1006/inco.1996.2612; of the signed
    form: Ghai, Hazan & Singer, Exponentiated Gradient Meets Gradient Descent, arXiv:1902.01903.

    Args:
        params: parameters, or groups as `suexp.nn.param_groups.param_groups` makes them.
        lr: $\eta$.
        signed: parameters of both signs, as a network's are; false: all must be above 0.
        spread: b of signed parameters.
        normalize: keep the sum over the last axis at 1.
        clip: bound of $|\eta g|$.
        weight_decay: $\lambda$.
        decay_embeddings: whether embedding tables decay.

    Raises:
        ValueError: lr, spread or clip not above 0, a negative weight_decay, normalize with signed,
            a parameter that is not above 0 everywhere without it, a complex parameter.

    Example:
        >>> import torch
        >>> from suexp.optimizer import EGD
        >>> w = torch.nn.Parameter(torch.tensor([0.5, 0.5]))
        >>> w.grad = torch.tensor([0.0, -1.0])
        >>> EGD([w], lr=1.0, signed=False).step()
        >>> w.data
        tensor([0.5000, 1.3591])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | int = 0.01,
        signed: bool = True,
        spread: float | int = 1.0,
        normalize: bool = False,
        clip: float | int = 10.0,
        weight_decay: float | int = 0.0,
        decay_embeddings: bool = True,
    ) -> None:
        check(lr, weight_decay)
        for name, value in (("spread", spread), ("clip", clip)):
            if not value > 0:
                raise ValueError(f"{name}={value} must be above 0")
        if normalize and signed:
            raise ValueError("normalize=true makes distributions, without signs; set signed=false")
        defaults = {
            "lr": lr,
            "signed": signed,
            "spread": spread,
            "normalize": normalize,
            "clip": clip,
            "weight_decay": weight_decay,
        }
        super().__init__(groups(params, decay_embeddings), defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take a group after a look at its parameters.

        Raises:
            ValueError: one that it could not move.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            if not group["signed"] and p.numel() and not (least := float(p.detach().min())) > 0:
                self.param_groups.pop()
                raise ValueError(
                    f"EGD needs strictly positive parameters, and one of shape {tuple(p.shape)} "
                    f"has an entry {least:.3g}; set signed=true"
                )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; a closure computes the loss anew, which is returned."""
        loss = evaluated(closure)
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None and p.numel()]
            if not params:
                continue
            with wide(params) as weights:
                if group["weight_decay"]:
                    torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
                gradients = [
                    self.gradient(p).to(w.dtype) for p, w in zip(params, weights, strict=True)
                ]
                _step(weights, gradients, group)
        return loss


def _step(weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
    fall = list(torch._foreach_mul(gradients, -group["lr"]))
    torch._foreach_clamp_min_(fall, -group["clip"])
    torch._foreach_clamp_max_(fall, group["clip"])
    if not group["signed"]:
        torch._foreach_exp_(fall)
        torch._foreach_mul_(weights, fall)
        if group["normalize"]:
            torch._foreach_div_(weights, [w.sum(-1, keepdim=w.ndim > 0) for w in weights])
        return
    spread = group["spread"]
    for weight, change in zip(weights, fall, strict=True):  # torch has no list of these
        weight.div_(spread).asinh_().add_(change).sinh_().mul_(spread)
