"""Adam whose moments accumulate the gradients of k batches."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from suexp.errors import one_of
from suexp.optimizer._micro import MicroSteps
from suexp.optimizer.base import check, groups, pair, wide

Mode = Literal["hidden", "beta_every_k", "beta", "skip", "explicit"]


class AdamAccum(MicroSteps):
    r"""Adam with k batches a step and no buffer for them: nearly what accumulation does.

    Micro-steps count t = 1, 2, ...; $\beta'$ is $\beta$ in the first micro-step of a cycle of k,
    else 1, and $\tilde\beta = 1 - (1 - \beta)/k$. For $\beta_1$ with $x_t = g_t$, $m$ and for
    $\beta_2$ with $x_t = g_t^2$, $v$ (both 0 at first), by ``mode``:

        ``hidden``: $m_t = \beta' m_{t-1} + \frac{1-\beta}{k} x_t$, moves every k
        ``beta_every_k``: $m_t = \tilde\beta m_{t-1} + (1 - \tilde\beta) x_t$, moves every k
        ``beta``: the same, moves every step
        ``skip``: $m_t = \beta m_{t-1} + (1 - \beta) x_t$, moves every k
        ``explicit``: the mean gradient of a cycle is kept in a third buffer, then Adam's step

    A move is, as `AdamW`'s with n the number of decays that m has seen,

        $\theta \leftarrow (1 - \eta\lambda)\theta - \eta \hat m / (\sqrt{\hat v} + \epsilon)$,
        $\hat m = m / (1 - \beta_1^n)$, $\hat v = v / (1 - \beta_2^n)$

    ``hidden`` differs from ``explicit`` by the mean of squares in the place of the square of the
    mean: a coordinate with mean $\mu$ and variance $\sigma^2$ steps $1/\sqrt r$ as far, with
    $r = (\mu^2 + \sigma^2)/(\mu^2 + \sigma^2/k)$ between 1, where gradients agree, and k. With
    k = 1 all are Adam.

    Learning-rate schedules count micro-steps. An incomplete cycle at the end stays in m and v.

    Shapes: $\theta$, g, m, v are equal, of any shape; m and v are in at least float32.

    References: https://kexue.fm/archives/8634; Pham et al., Combined Scaling for Zero-shot Transfer
    Learning, arXiv:2111.10050; Kingma & Ba, arXiv:1412.6980.

    Args:
        params: parameters, or groups as `suexp.nn.param_groups.param_groups` makes them.
        lr: $\eta$; 1e-3 as `Adam`'s.
        betas: $(\beta_1, \beta_2)$; as `Adam`'s.
        eps: $\epsilon$; as `Adam`'s.
        weight_decay: $\lambda$, decoupled, times the learning rate, once a move.
        grad_accum_steps: k. With more than 1 do not accumulate in the trainer too.
        mode: what the moments are fed, and when the parameters move.
        eps_inside_sqrt: $\sqrt{\hat v + \epsilon}$, as the post writes it.
        bias_correction: whether m and v are divided by what their weights sum to.
        decay_embeddings: whether embedding tables decay.

    Raises:
        ValueError: lr not above 0, a beta outside [0, 1), a negative weight_decay or eps, an
            unknown mode, grad_accum_steps below 1, a complex parameter.

    Example:
        >>> import torch
        >>> from suexp.optimizer import AdamAccum
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = AdamAccum([w], lr=0.1, grad_accum_steps=2)
        >>> for _ in range(2):
        ...     w.grad = torch.tensor([0.3, -5.0])
        ...     optimizer.step()
        >>> w.data
        tensor([ 0.9000, -1.9000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | int = 1e-3,
        betas: Sequence[float | int] = (0.9, 0.999),
        eps: float | int = 1e-8,
        weight_decay: float | int = 0.0,
        grad_accum_steps: int = 1,
        mode: Mode = "hidden",
        eps_inside_sqrt: bool = False,
        bias_correction: bool = True,
        decay_embeddings: bool = True,
    ) -> None:
        check(lr, weight_decay)
        one_of(get_args(Mode), mode=mode)
        if not eps >= 0:
            raise ValueError(f"eps={eps} must not be negative")
        self.buffers = ("exp_avg", "exp_avg_sq") + ("mean_gradient",) * (mode == "explicit")
        defaults = {
            "lr": lr,
            "betas": pair(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "grad_accum_steps": grad_accum_steps,
            "mode": mode,
            "eps_inside_sqrt": eps_inside_sqrt,
            "bias_correction": bias_correction,
            "step": 0,
        }
        super().__init__(groups(params, decay_embeddings), defaults)

    def period(self, group: dict[str, Any]) -> int:
        """Return the micro-steps from one move to the next."""
        return 1 if group["mode"] == "beta" else int(group["grad_accum_steps"])

    def feed(self, params: list[Tensor], group: dict[str, Any], first: bool) -> None:
        """Take gradients into the moments, or into the mean gradient."""
        mode, k = group["mode"], group["grad_accum_steps"]
        once = mode in ("hidden", "explicit")  # decays once a cycle
        if first or not once:
            for p in params:
                self.state[p]["step"] += 1
        gradients = [self.gradient(p) for p in params]
        if mode == "explicit":
            mean = self.of("mean_gradient", params)
            if first:
                torch._foreach_zero_(mean)
            torch._foreach_add_(mean, gradients, alpha=1 / k)
            return
        keep, share = [], []
        for decay, beta in zip(_decays(group), group["betas"], strict=True):
            keep.append(decay if first or not once else 1.0)
            share.append(1 - beta if mode == "skip" else (1 - beta) / k)
        self._average(params, gradients, keep, share)

    def _average(
        self, params: list[Tensor], x: list[Tensor], keep: Sequence[float], share: Sequence[float]
    ) -> None:
        m, v = self.of("exp_avg", params), self.of("exp_avg_sq", params)
        for average, factor in ((m, keep[0]), (v, keep[1])):
            if factor != 1:
                torch._foreach_mul_(average, factor)
        torch._foreach_add_(m, x, alpha=share[0])
        x = [g.to(average.dtype) for g, average in zip(x, v, strict=True)]
        torch._foreach_addcmul_(v, x, x, share[1])

    def move(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """Make Adam's step, from the moments as they are."""
        lr, eps = group["lr"], group["eps"]
        if group["mode"] == "explicit":
            mean = self.of("mean_gradient", params)
            betas = group["betas"]
            self._average(params, mean, betas, [1 - beta for beta in betas])
        m, v = self.of("exp_avg", params), self.of("exp_avg_sq", params)
        first, second = ([1.0] * len(params) for _ in range(2))
        if group["bias_correction"]:
            decays = _decays(group)
            first, second = (
                [1 - decay ** self.state[p]["step"] for p in params] for decay in decays
            )
        if group["eps_inside_sqrt"]:
            root = torch._foreach_div(v, second)
            torch._foreach_add_(root, eps)
            torch._foreach_sqrt_(root)
        else:
            root = torch._foreach_sqrt(v)
            torch._foreach_div_(root, [value**0.5 for value in second])
            torch._foreach_add_(root, eps)
        with wide(params) as weights:
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - lr * group["weight_decay"])
            torch._foreach_addcdiv_(weights, m, root, [-lr / value for value in first])


def _decays(group: dict[str, Any]) -> list[float]:
    """Return by what m and v decay each time that they do."""
    k = group["grad_accum_steps"] if group["mode"] in ("beta", "beta_every_k") else 1
    return [1 - (1 - beta) / k for beta in group["betas"]]
