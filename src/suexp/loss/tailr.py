"""Total variation, made trainable: cross-entropy that does not insist on what it cannot believe."""

import math
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.errors import one_of
from suexp.loss._of_label import OfLabel
from suexp.nn.ramp import Number, ramp
from suexp.normalizer.base import Normalizer

Form = Literal["closed", "weighted"]


class TaiLr(OfLabel):
    r"""$f = -\frac{\log(\gamma + (1-\gamma) q)}{1-\gamma}$, q the right class's probability.

    Its gradient is cross-entropy's times a weight that grows with q:

        $-\frac{\partial f}{\partial \log q} = w = \frac{q}{\gamma + (1-\gamma) q} \le 1$

    $\gamma = 0$ is cross-entropy, $\gamma = 1$ is $1 - q$, the total variation
    $\frac12 \sum_c |p_c - q_c|$ from a one-hot p, a smooth accuracy; the loss is at most
    $-\log\gamma / (1-\gamma)$. With ``min_weight`` $w \leftarrow \max(w, m)$, and f goes on with
    slope m below the $q^*$ where w = m, so that the value stays one that the gradient descends. The
    mean is over targets, not over weights. Shapes: logits (..., C), target (...).

    Its minimum is sharper than the data: for classes of probability p,
    $q_c = \max(0, (p_c/\mu - \gamma)/(1-\gamma))$. Under symmetric noise of rate $\epsilon$ it is
    the right class alone if and only if $\gamma \ge \epsilon / ((C-1)(1-\epsilon))$. With many
    classes w is almost 0 at first, $1/(C\gamma + 1 - \gamma)$: nothing is learned without
    ``min_weight``, a small $\gamma$, or one that begins at 0.

    Post: https://kexue.fm/archives/9526 ($\gamma = 1$ also https://kexue.fm/archives/9098). Paper:
    Ji et al., Tailoring Language Generation Models under Total Variation Distance,
    arXiv:2302.13344; weights, their bound and the smoothing as in the authors' code
    (github.com/thu-coai/TaiLr).

    Args:
        gamma: $\gamma$ in [0, 1], or ``{start: 0, end: 0.3, steps: 200}``.
        min_weight: m in [0, 1); 0: none. 0.2 and 0.3 in the paper.
        form: ``closed``; ``weighted``, $-w \log q$ with w taken for a number, as the authors have
            it: the same gradients, another value.
        label_smoothing: $\epsilon$, of `CrossEntropy`, whose smoothing term it leaves unweighted.
        ignore_index: target value that does not count.
        margin: of `CrossEntropy`.
        normalizer: gives q; None: softmax.

    Raises:
        ValueError: gamma outside [0, 1], min_weight outside [0, 1), an unknown form.

    Example:
        >>> import torch
        >>> from suexp.loss.tailr import TaiLr
        >>> logits = torch.zeros(1, 4)  # q is a quarter
        >>> TaiLr(gamma=1.0)(logits, torch.tensor([2]))
        tensor(0.7500)
    """

    needs_step: ClassVar[bool] = True
    step: int = 0

    def __init__(
        self,
        gamma: Number = 0.1,
        min_weight: float = 0.0,
        form: Form = "closed",
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        margin: float = 0.0,
        normalizer: Normalizer | None = None,
    ) -> None:
        super().__init__(label_smoothing, ignore_index, margin, normalizer)
        self.gamma = ramp(gamma, "loss.gamma", 0, 1)
        if not 0 <= min_weight < 1:
            raise ValueError(f"loss.min_weight must lie in [0, 1), not {min_weight}")
        one_of(get_args(Form), form=form)
        self.min_weight, self.form = min_weight, form

    def of_label(self, log_p: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return f."""
        gamma = self.gamma(self.step)
        if self.form == "weighted":
            weight = log_weight(log_p, gamma).exp().clamp(min=self.min_weight)
            return -weight.detach() * log_p
        if not self.min_weight or not gamma:
            return closed(log_p, gamma)
        edge = self.min_weight * gamma / (1 - self.min_weight * (1 - gamma))  # q*
        below = (math.log(edge) - log_p).clamp(min=0)
        return closed(log_p.clamp(min=math.log(edge)), gamma) + self.min_weight * below


def log_weight(log_q: Float[Tensor, "*b"], gamma: float) -> Float[Tensor, "*b"]:
    r"""Return $\log w = \log q - \log(\gamma + (1-\gamma) q)$."""
    return log_q - _log_mixed(log_q, gamma)


def closed(log_q: Float[Tensor, "*b"], gamma: float) -> Float[Tensor, "*b"]:
    r"""Return $-\log(\gamma + (1-\gamma) q) / (1-\gamma)$, and its limit $1 - q$ at 1."""
    if gamma == 1:
        return -torch.expm1(log_q)
    if gamma > 0.5:  # where the logarithm and what it is divided by go to 0 together
        return -torch.log1p((1 - gamma) * torch.expm1(log_q)) / (1 - gamma)
    return -_log_mixed(log_q, gamma) / (1 - gamma)


def _log_mixed(log_q: Float[Tensor, "*b"], gamma: float) -> Float[Tensor, "*b"]:
    if gamma == 0:
        return log_q
    if gamma == 1:
        return torch.zeros_like(log_q)
    return torch.logaddexp(log_q + math.log1p(-gamma), log_q.new_tensor(math.log(gamma)))
