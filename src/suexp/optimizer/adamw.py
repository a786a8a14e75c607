"""AdamW: Adam with decoupled weight decay."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from suexp.errors import at_least
from suexp.optimizer._one_kernel import OneKernel
from suexp.optimizer.base import check, groups, pair


class AdamW(OneKernel, torch.optim.AdamW):
    r"""Torch's AdamW: the decay acts on the weights, not through the gradient's moments.

    In order of execution, with $m_0 = v_0 = 0$:

        $\theta_t = (1 - \eta_t \lambda) \theta_{t-1}$
        $m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t$, $v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2$
        $\theta_t \leftarrow \theta_t - \eta_t \hat m / (\sqrt{\hat v} + \epsilon)$,
        where $\hat m = m_t / (1 - \beta_1^t)$ and $\hat v = v_t / (1 - \beta_2^t)$

    Shapes: $\theta$, g, m, v are equal, of any shape. The first step is almost a
    sign, $\eta g / (|g| + \epsilon)$ (https://kexue.fm/archives/9473).

    Reference: Loshchilov & Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101.

    Args:
        params: parameters, or groups as `suexp.nn.param_groups.param_groups` makes them.
        lr: $\eta$; 1e-3 as torch.
        betas: $(\beta_1, \beta_2)$; (0.9, 0.999) as torch.
        eps: $\epsilon$; 1e-8 as torch.
        weight_decay: $\lambda$, decoupled, times the learning rate; 0.01 as torch.
        fused: one kernel for all (5 times as fast on the CPU); None: where torch's is right.
        decay_embeddings: whether embedding tables decay.

    Raises:
        ValueError: lr not above 0, a beta outside [0, 1), a negative weight_decay or eps.

    Example:
        >>> import torch
        >>> from suexp.optimizer import AdamW
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> w.grad = torch.tensor([0.3, -5.0])
        >>> AdamW([w], lr=0.1, weight_decay=0.1).step()
        >>> w.data
        tensor([ 0.8900, -1.8800])
    """

    torch_class = torch.optim.AdamW

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | int = 1e-3,
        betas: Sequence[float | int] = (0.9, 0.999),
        eps: float | int = 1e-8,
        weight_decay: float | int = 0.01,
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
