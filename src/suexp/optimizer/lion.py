"""Lion, the sign-momentum optimizer found by program search (arXiv:2302.06675)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from suexp.optimizer.base import (
    MomentumOptimizer,
    blocks,
    check,
    compute_dtype,
    evaluated,
    groups,
    pair,
    scale_add_,
)


class Lion(MomentumOptimizer):
    r"""Each component moves by exactly the learning rate, in the direction of a sign.

    In order of execution, with $m_0 = 0$ and no bias correction (the sign does not see scale):

        $u_t = \mathrm{sign}(\beta_1 m_{t-1} + (1 - \beta_1) g_t)$, where sign(0) = 0
        $\theta_t = (1 - \eta_t \lambda) \theta_{t-1} - \eta_t u_t$
        $m_t = \beta_2 m_{t-1} + (1 - \beta_2) g_t$

    Shapes: $\theta$, g, m, u are equal, of any shape. The state is m alone, half of Adam's.
    As RMS(u) = 1 (Adam: 0.1 to 0.3), $\eta$ should be 3 to 10 times smaller than AdamW's and
    $\lambda$ larger by the same factor, which keeps the decay per step, $\eta\lambda$.

    With parameters or momentum of fewer than 32 bits all is computed in float32 and rounded once.
    A bfloat16 momentum stalls all the same: with $\beta_2 = 0.98$ an increment of m that comes from
    a gradient within 10 to 20 % of m is rounded away. A sparse gradient is refused (UserError).

    References: https://kexue.fm/archives/9473; Chen et al., Symbolic Discovery of Optimization
    Algorithms, arXiv:2302.06675.

    Args:
        params: parameters, or groups as `suexp.nn.param_groups.param_groups` makes them.
        lr: $\eta$; 1e-4 as in the paper's code.
        betas: $(\beta_1, \beta_2)$; the paper's for language, (0.95, 0.98); for vision (0.9, 0.99).
        weight_decay: $\lambda$, decoupled, times the learning rate.
        momentum_dtype: type that m is kept in, such as ``bfloat16``; None: as the parameter, but at
            least float32.
        foreach: True: lists of tensors at once, in fewer launches and with a temporary of the
            parameters' size; False: tensor by tensor, in blocks that stay in the CPU's cache; None:
            lists on accelerators, blocks on the CPU, where lists are slow.
        decay_embeddings: whether embedding tables decay.

    Raises:
        ValueError: lr not above 0, a beta outside [0, 1), a negative weight_decay, a complex
            parameter, an unknown momentum_dtype.

    Example:
        >>> import torch
        >>> from suexp.optimizer import Lion
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> w.grad = torch.tensor([0.3, -5.0])
        >>> Lion([w], lr=0.1, weight_decay=0.0).step()
        >>> w.data
        tensor([ 0.9000, -1.9000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | int = 1e-4,
        betas: Sequence[float | int] = (0.95, 0.98),
        weight_decay: float | int = 0.01,
        momentum_dtype: str | None = None,
        foreach: bool | None = None,
        decay_embeddings: bool = True,
    ) -> None:
        check(lr, weight_decay)
        defaults = {
            "lr": lr,
            "betas": pair(betas),
            "weight_decay": weight_decay,
            "momentum_dtype": momentum_dtype,
            "foreach": foreach,
        }
        super().__init__(groups(params, decay_embeddings), defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; a closure computes the loss anew, which is returned."""
        loss = evaluated(closure)
        for group in self.param_groups:
            foreach: bool | None = group["foreach"]
            lists: list[list[Tensor]] = []
            for p in group["params"]:
                if p.grad is None:
                    continue
                tensors = [p, self.gradient(p), self.momentum(p, group)]
                if foreach or (foreach is None and not p.is_cpu):
                    lists.append(tensors)
                    continue
                for piece in blocks(*tensors):
                    _update(piece, group)
            if lists:
                _update_lists(lists, group)
        return loss


def _update(tensors: Sequence[Tensor], group: dict[str, Any]) -> None:
    p, g, m = tensors
    lr, (beta1, beta2) = group["lr"], group["betas"]
    u = torch.lerp(m, g, 1 - beta1)
    m.lerp_(g, 1 - beta2)  # while m and g are still in cache; u has seen the old m
    scale_add_(p, u.sign_(), 1 - lr * group["weight_decay"], -lr)


def _update_lists(tensors: list[list[Tensor]], group: dict[str, Any]) -> None:
    lr, (beta1, beta2) = group["lr"], group["betas"]
    wide = [[t.to(compute_dtype(p)) for t in (p, g, m)] for p, g, m in tensors]
    p, g, m = map(list, zip(*wide, strict=True))
    u = torch._foreach_lerp(m, g, 1 - beta1)
    torch._foreach_sign_(u)
    torch._foreach_lerp_(m, g, 1 - beta2)
    torch._foreach_mul_(p, 1 - lr * group["weight_decay"])
    torch._foreach_add_(p, u, alpha=-lr)
    for kept, computed in zip(tensors, wide, strict=True):
        for i in (0, 2):
            if kept[i] is not computed[i]:
                kept[i].copy_(computed[i])
