"""Matrices of a GAN's critic divided by their largest singular value."""

from typing import TYPE_CHECKING, ClassVar

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrizations import spectral_norm

from suexp.errors import at_least, between
from suexp.method._critic import critic_of
from suexp.method.base import Method

if TYPE_CHECKING:
    from suexp.task.base import Task


class SpectralNorm(Method):
    r"""$W \leftarrow W/\sigma(W)$ in every linear layer and convolution of the critic.

    $\sigma$, the largest singular value of W as a matrix (out, rest), is estimated by
    num_iterations steps of the power iteration $v \propto W^\top u$, $u \propto W v$ before each
    forward pass in training; gradients go through $\sigma = u^\top W v$, not through u and v. It is
    `torch.nn.utils.parametrizations.spectral_norm`.

    Post: https://kexue.fm/archives/8757. Paper: Miyato et al., Spectral Normalization for
    Generative Adversarial Networks, arXiv:1802.05957.

    Args:
        num_iterations: power iterations a pass; 1 as in the paper.
        eps: keeps the vectors' norms away from 0.
        allow_combined: let another Lipschitz constraint act as well; to be set for both.

    Raises:
        ValueError: no iteration; a critic without linear layers and convolutions.
    """

    order = -1  # the layers themselves, before anything is wrapped around the critic
    provides: ClassVar[set[str]] = {"lipschitz_constraint if allow_combined=False"}
    needs: ClassVar[dict[str, str]] = {
        "critic": "it constrains a GAN's critic; use task=adversarial"
    }
    refuses: ClassVar[dict[str, str]] = {
        "lipschitz_constraint": "one Lipschitz constraint is enough; leave one of them out, or set "
        "allow_combined=true for both"
    }

    def __init__(
        self, num_iterations: int = 1, eps: float = 1e-12, allow_combined: bool = False
    ) -> None:
        super().__init__()
        at_least(1, num_iterations=num_iterations)
        between("(0, inf)", eps=eps)
        self.num_iterations, self.eps, self.allow_combined = num_iterations, eps, allow_combined

    def attach(self, task: "Task") -> None:
        """Give every layer its normalised weight."""
        critic = critic_of(task, "spectral_norm")
        layers = [module for module in critic.modules() if isinstance(module, (nn.Linear, _ConvNd))]
        if not layers:
            raise ValueError(f"{type(critic).__name__} has no linear layer and no convolution")
        for layer in layers:
            spectral_norm(layer, n_power_iterations=self.num_iterations, eps=self.eps)
