"""A critic divided by the norm of its own gradient (https://kexue.fm/archives/8757)."""

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.method._critic import critic_of, warn_if_bent
from suexp.method.base import Method
from suexp.nn.input_gradient import norms, require_independent, score_and_gradient, widened

if TYPE_CHECKING:
    from suexp.task.base import Task

Form = Literal["gn", "gran", "plain", "linear", "gran_sum"]
FORMS = ("gn", "gran", "plain", "linear", "gran_sum")
TINY = {"gn": 1e-12, "plain": 1e-8, "linear": 1e-8}  # keeps 0/0 away


class NormalizedCritic(nn.Module):
    r"""$\hat f(x) = K\,\mathrm{form}(f(x), \nabla_x f(x))$ for a critic f of scalar scores.

    Works with gradients off and in inference mode, too. When gradients are on, they flow through
    $\nabla_x f$, to the weights and to x: the second-order part of the method.

    Args:
        inner: f.
        form: see `GradientNormalization`.
        eps: $\epsilon$ of gran and gran_sum.
        lipschitz: K.
    """

    def __init__(self, inner: nn.Module, form: Form, eps: float, lipschitz: float) -> None:
        super().__init__()
        self.inner, self.form, self.eps, self.lipschitz = inner, form, eps, lipschitz

    def forward(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, " b"]:
        """Return the normalised scores."""
        on = torch.is_grad_enabled()
        x = widened(x, self.inner)
        f, g = score_and_gradient(self.inner, x, create_graph=on)
        with torch.autocast(x.device.type, enabled=False):
            return self.lipschitz * self._normalized(x, f, g)

    def _normalized(self, x: Tensor, f: Tensor, g: Tensor) -> Tensor:
        n = norms(g)
        f = f.to(n.dtype)
        if self.form == "gn":
            return f / (n + f.abs() + TINY["gn"])
        if self.form == "gran":
            return f * n / (n.square() + self.eps)
        if self.form == "gran_sum":
            return f / (n + self.eps)
        if self.form == "plain":
            return f / (n + TINY["plain"])
        inner = (g.to(n.dtype) * x.to(n.dtype)).flatten(1).sum(1)
        return inner / (n + TINY["linear"])


class GradientNormalization(Method):
    r"""Divide the critic f of a GAN by the norm of its own gradient.

    With $g = \nabla_x f(x)$ and $n = \|g\|_2$ at each point, the critic becomes

    - gn: $f / (n + |f|)$, in (-1, 1); its gradient has norm $(n/(n+|f|))^2$ inside a piece;
    - gran: $f n / (n^2 + \epsilon)$, with a gradient of norm $n^2/(n^2+\epsilon)$;
    - gran_sum: $f / (n + \epsilon)$;
    - plain: $f / n$, with a gradient of norm 1;
    - linear: $\langle g, x\rangle / n$, which drops the piece's intercept.

    The norms hold where f is piecewise linear, that is with (leaky) ReLUs: inside a piece n is
    constant. Between pieces the normalised critic jumps. Without biases f is positively
    homogeneous, $f = \langle g, x\rangle$, and linear is plain. n is computed in float32 with
    autocast off. The generator's step goes through the normalisation as well, so it is second-order
    there, too.

    Under loss.kind=wgan nothing bounds the level of plain, linear, gran and gran_sum: there the
    generator can run off.

    Post: https://kexue.fm/archives/8757. Papers: Wu et al., Gradient Normalization for Generative
    Adversarial Networks, arXiv:2109.02235 (gn); Bhaskara et al., GraN-GAN, arXiv:2111.03162 (gran).

    Args:
        form: gn, gran, plain, linear or gran_sum.
        eps: $\epsilon$ of gran and gran_sum; 0.1.
        lipschitz: K, which multiplies all of it: the critic is K-Lipschitz inside a piece.
        allow_combined: let another Lipschitz constraint act as well; to be set for both.

    Raises:
        ValueError: an unknown form, eps negative, lipschitz not above 0; a critic with BatchNorm or
            dropout; a lipschitz above 1 with loss.kind=bce_bounded.
    """

    provides: ClassVar[set[str]] = {
        "lipschitz_constraint if allow_combined=False",
        "bounded_critic if form=gn",
    }
    needs: ClassVar[dict[str, str]] = {
        "critic": "it constrains a GAN's critic; use task=adversarial"
    }
    refuses: ClassVar[dict[str, str]] = {
        "lipschitz_constraint": "one Lipschitz constraint is enough; leave one of them out, or set "
        "allow_combined=true for both"
    }

    def __init__(
        self,
        form: Form = "gn",
        eps: float = 0.1,
        lipschitz: float = 1.0,
        allow_combined: bool = False,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, not {form}")
        if not (eps >= 0 and lipschitz > 0):
            raise ValueError(f"eps {eps} must not be negative, lipschitz {lipschitz} above 0")
        self.form, self.eps, self.lipschitz = form, eps, lipschitz
        self.allow_combined = allow_combined

    def attach(self, task: "Task") -> None:
        """Wrap the critic."""
        critic = critic_of(task, "gradient_normalization")
        require_independent(critic)
        warn_if_bent(critic)
        if getattr(task.loss, "kind", None) == "bce_bounded" and self.lipschitz > 1:
            raise ValueError(
                f"loss.kind=bce_bounded needs scores in [-1, 1]; lipschitz={self.lipschitz} goes "
                "beyond, use loss.kind=bce"
            )
        task.model.critic = NormalizedCritic(critic, self.form, self.eps, self.lipschitz)
