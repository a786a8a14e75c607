"""Gradient penalty on a GAN's critic."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from suexp.method._critic import critic_of
from suexp.method.base import Batch, Method, Objective
from suexp.nn.input_gradient import norms, require_independent, score_and_gradient, widened

if TYPE_CHECKING:
    from suexp.task.base import Task

POINTS = ("interpolate", "real", "fake")


class WganGP(Method):
    r"""Add $\lambda\,E(\|\nabla_x D(\tilde x)\|_2 - t)^2$ to the critic's loss.

    $\tilde x = \epsilon x + (1 - \epsilon) y$ lies between a real point x and a generated one y,
    $\epsilon$ uniform in [0, 1] for each pair. Only the critic's step is second-order; the
    generator's is not touched. The gradient is computed in float32 with autocast off.

    Post: https://kexue.fm/archives/8757, where it is the method to beat. Paper: Gulrajani et al.,
    Improved Training of Wasserstein GANs, arXiv:1704.00028. With target=0 and points=real it is
    $R_1$ of Mescheder et al., arXiv:1801.04406, up to its factor 1/2.

    Args:
        weight: $\lambda$; 10 as in the paper.
        target: t.
        points: interpolate, real or fake: where the gradient is taken.
        one_sided: penalise only norms above t.
        allow_combined: let another Lipschitz constraint act as well; to be set for both.

    Raises:
        ValueError: a negative weight or target, unknown points; a critic with BatchNorm or dropout.
    """

    provides: ClassVar[set[str]] = {"lipschitz_constraint if allow_combined=False"}
    needs: ClassVar[dict[str, str]] = {
        "critic": "it constrains a GAN's critic; use task=adversarial, or method=gradient_penalty "
        "for inputs and embeddings of other tasks"
    }
    refuses: ClassVar[dict[str, str]] = {
        "lipschitz_constraint": "one Lipschitz constraint is enough; leave one of them out, or set "
        "allow_combined=true for both"
    }

    def __init__(
        self,
        weight: float = 10.0,
        target: float = 1.0,
        points: Literal["interpolate", "real", "fake"] = "interpolate",
        one_sided: bool = False,
        allow_combined: bool = False,
    ) -> None:
        super().__init__()
        if not (weight >= 0 and target >= 0):
            raise ValueError(f"weight {weight} and target {target} must not be negative")
        if points not in POINTS:
            raise ValueError(f"points must be one of {', '.join(POINTS)}, not {points}")
        self.weight, self.target, self.points = weight, target, points
        self.one_sided, self.allow_combined = one_sided, allow_combined

    def attach(self, task: "Task") -> None:
        """Check that the critic judges each row by itself."""
        require_independent(critic_of(task, "wgan_gp"))

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the critic's loss with the penalty."""
        owner: Any = task
        batch = owner.with_fake(batch)
        return inner(batch) + self.weight * self.penalty(
            owner.model.critic, batch["x"], batch["fake"]
        )

    def penalty(
        self, critic: Any, real: Float[Tensor, "b ..."], fake: Float[Tensor, "b ..."]
    ) -> Float[Tensor, ""]:
        """Return the penalty without its weight."""
        real, fake = widened(real, critic), widened(fake, critic)
        if self.points == "interpolate":
            share = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device)
            at = fake + share.to(real.dtype) * (real - fake)
        else:
            at = real if self.points == "real" else fake
        _, gradient = score_and_gradient(critic, at, create_graph=torch.is_grad_enabled())
        excess = norms(gradient) - self.target
        return (F.relu(excess) if self.one_sided else excess).square().mean()
