"""SIGNUM, signSGD with momentum (arXiv:1802.04434)."""

from collections.abc import Iterable
from typing import Any

from suexp.optimizer.base import check
from suexp.optimizer.lion import Lion


class Signum(Lion):
    r"""The sign of the momentum: Lion with both betas equal.

        $m_t = \beta m_{t-1} + (1 - \beta) g_t$, with $m_0 = 0$
        $\theta_t = (1 - \eta_t \lambda) \theta_{t-1} - \eta_t \mathrm{sign}(m_t)$

    Shapes: $\theta$, g, m are equal, of any shape. $\beta = 0$ gives signSGD.

    References: Bernstein et al., signSGD: Compressed Optimisation for Non-Convex Problems,
    arXiv:1802.04434; https://kexue.fm/archives/9473 compares it with Lion.

    Args:
        params: parameters, or groups as `suexp.nn.param_groups.param_groups` makes them.
        lr: $\eta$; 1e-4 as `Lion`'s.
        beta: $\beta$; 0.9 as in the paper.
        weight_decay: $\lambda$, decoupled, times the learning rate; the paper's equation has none.
        momentum_dtype: type that m is kept in, such as ``bfloat16``; None: as the parameter, but at
            least float32.
        foreach: True: lists of tensors at once; False: cache-sized blocks; None: lists on
            accelerators, blocks on the CPU.
        decay_embeddings: whether embedding tables decay.

    Raises:
        ValueError: as `Lion`.

    Example:
        >>> import torch
        >>> from suexp.optimizer import Signum
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> w.grad = torch.tensor([0.3, -5.0])
        >>> Signum([w], lr=0.1).step()
        >>> w.data
        tensor([ 0.9000, -1.9000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | int = 1e-4,
        beta: float | int = 0.9,
        weight_decay: float | int = 0.0,
        momentum_dtype: str | None = None,
        foreach: bool | None = None,
        decay_embeddings: bool = True,
    ) -> None:
        check(lr, weight_decay, beta)
        super().__init__(
            params, lr, (beta, beta), weight_decay, momentum_dtype, foreach, decay_embeddings
        )
