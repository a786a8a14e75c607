"""Adam."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from suexp.errors import at_least
from suexp.optimizer._one_kernel import OneKernel
from suexp.optimizer.base import check, groups, pair


class Adam(OneKernel, torch.optim.Adam):
    r"""Torch's Adam: each component's step is divided by its own root mean square gradient.

    In order of execution, with $m_0 = v_0 = 0$:

        $g_t \leftarrow g_t + \lambda \theta_{t-1}$
        $m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t$, $v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2$
        $\theta_t = \theta_{t-1} - \eta_t \hat m / (\sqrt{\hat v} + \epsilon)$,
        where $\hat m = m_t / (1 - \beta_1^t)$ and $\hat v = v_t / (1 - \beta_2^t)$

    Shapes: $\theta$, g, m, v are equal, of any shape. `AdamW` decouples the decay.

    Reference: Kingma & Ba, Adam: A Method for Stochastic Optimization, arXiv:1412.6980.

    Args:
        params: parameters, or groups as `suexp.nn.param_groups.param_groups` makes them.
        lr: $\eta$; 1e-3 as in the paper.
        betas: $(\beta_1, \beta_2)$; as in the paper.
        eps: $\epsilon$; as in the paper.
        weight_decay: $\lambda$, an L2 term in the gradient.
        fused: one kernel for all (5 times as fast on the CPU); None: where torch's is right.
        decay_embeddings: whether embedding tables decay.

    Raises:
        ValueError: lr not above 0, a beta outside [0, 1), a negative weight_decay or eps.

    Example:
        >>> import torch
        >>> from suexp.optimizer import Adam
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> w.grad = torch.tensor([0.3, -5.0])
        >>> Adam([w], lr=0.1).step()
        >>> w.data
        tensor([ 0.9000, -1.9000])
    """

    torch_class = torch.optim.Adam

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | int = 1e-3,
        betas: Sequence[float | int] = (0.9, 0.999),
        eps: float | int = 1e-8,
        weight_decay: float | int = 0.0,
        fused: bool | None = None,
        decay_embeddings: bool = True,
    ) -> None:
        beta1, beta2 = pair(betas)
        at_least(0, eps=eps)
        check(lr, weight_decay)
        super().__init__(
            groups(params, decay_embeddings),
            lr=lr,
            betas=(beta1, beta2),
            eps=eps,
            weight_decay=weight_decay,
            fused=fused,
        )
