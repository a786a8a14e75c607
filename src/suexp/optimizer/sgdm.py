"""Momentum that accumulates the gradients of k batches in the buffer that it has anyway."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from suexp.optimizer._micro import MicroSteps
from suexp.optimizer.base import check, groups


class SGDM(MicroSteps):
    r"""SGD with momentum; k small batches make exactly the step of one that is k times as large.

    In order of execution, at micro-step t = 1, 2, ... with $m_0 = 0$ and $\beta' = \beta$ in the
    first micro-step of a cycle of k, else 1 (the running sum decays once a cycle):

        $m_t = \beta' m_{t-1} + \frac{1 - \beta}{k} g_t$
        at its end: $m \leftarrow m + (1 - \beta) \lambda \theta$,
        $\theta \leftarrow \theta - \eta m$

    No further buffer is needed, as it is for ordinary accumulation. Without ``dampened`` the
    factors $1 - \beta$ are 1, as in torch. Learning-rate schedules count micro-steps; the rate that
    counts is that of a cycle's last. An incomplete cycle at the end stays in m. Clipping would act
    on each $g_t$: `suexp` refuses it for k > 1.

    Shapes: $\theta$, g, m are equal, of any shape; m is in at least float32. It hides in a momentum
    only where the step reads nothing else: not in `Lion`'s, whose step mixes m and g by another
    share than m itself (`Tiger`'s are equal).

    References: https://kexue.fm/archives/8634; Pham et al., Combined Scaling for Zero-shot Transfer
    Learning, arXiv:2111.10050.

    Args:
        params: parameters, or groups as `suexp.nn.param_groups.param_groups` makes them.
        lr: $\eta$; 0.01 as `SGD`'s.
        momentum: $\beta$; 0.9 is the usual value.
        dampened: whether m is a mean, as in the post: $\eta$ means the same for all $\beta$.
        grad_accum_steps: k. With more than 1 do not accumulate in the trainer too.
        weight_decay: $\lambda$, an L2 term in the gradient.
        decay_embeddings: whether embedding tables decay.

    Raises:
        ValueError: lr not above 0, momentum outside [0, 1), a negative weight_decay,
            grad_accum_steps below 1, a complex parameter.

    Example:
        >>> import torch
        >>> from suexp.optimizer import SGDM
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = SGDM([w], lr=0.1, momentum=0.5, grad_accum_steps=2)
        >>> for g in ([2.0, 0.0], [4.0, -8.0]):
        ...     w.grad = torch.tensor(g)
        ...     optimizer.step()
        >>> w.data
        tensor([ 0.8500, -1.8000])
    """

    buffers = ("momentum",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | int = 0.01,
        momentum: float | int = 0.9,
        dampened: bool = True,
        grad_accum_steps: int = 1,
        weight_decay: float | int = 0.0,
        decay_embeddings: bool = True,
    ) -> None:
        check(lr, weight_decay, momentum)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampened": dampened,
            "grad_accum_steps": grad_accum_steps,
            "weight_decay": weight_decay,
            "step": 0,
        }
        super().__init__(groups(params, decay_embeddings), defaults)

    def feed(self, params: list[Tensor], group: dict[str, Any], first: bool) -> None:
        """Add a share of the gradients; decay before the first of a cycle."""
        m, share = self.of("momentum", params), _share(group)
        if first:
            torch._foreach_mul_(m, group["momentum"])
        gradients = [self.gradient(p) for p in params]
        torch._foreach_add_(m, gradients, alpha=share / group["grad_accum_steps"])

    def move(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """Step along the momentum."""
        m = self.of("momentum", params)
        if group["weight_decay"]:
            torch._foreach_add_(m, params, alpha=_share(group) * group["weight_decay"])
        torch._foreach_add_(params, m, alpha=-group["lr"])


def _share(group: dict[str, Any]) -> float:
    return 1 - group["momentum"] if group["dampened"] else 1.0
