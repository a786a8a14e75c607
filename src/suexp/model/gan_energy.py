"""A generator beside two energies, of data and of what it generates."""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import MOST_LAYERS, at_least
from suexp.init.base import Init
from suexp.model.energy_mlp import EnergyMLP
from suexp.model.gan_mlp import MLPGenerator
from suexp.nn.activation import Activation


class EnergyPair(nn.Module):
    r"""$c(x) = E_p(x) - E_q(x)$: up to a constant $\log q(x) - \log p(x)$.

    Args:
        data: $E_p$, of the data.
        generated: $E_q$, of generated points.
    """

    def __init__(self, data: EnergyMLP, generated: EnergyMLP) -> None:
        super().__init__()
        self.data, self.generated = data, generated

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Return c."""
        return self.data(x) - self.generated(x)


class GanEnergy(nn.Module, Component):
    r"""A generator $x = g(z)$, and a critic $E_p - E_q$ of two energies.

    Shapes: latent z (b, latent_dim), points (b, input_dim), energies (b,). The generator's hidden
    layers are ReLUs, the energies those of `suexp.model.energy_mlp`.

    Post: https://kexue.fm/archives/7038. Paper: Bigdeli et al., Learning Generative Models using
    Denoising Density Estimators, arXiv:2001.02728.

    Args:
        input_dim: size of the points.
        init: draws the weights.
        latent_dim: size of z.
        dim: size of the energies' hidden layers.
        num_layers: how many these have.
        activation: of the energies, a smooth one.
        head: of the energies: ``linear`` or ``quadratic``.
        generator_dim: size of the generator's hidden layers.
        generator_layers: how many it has.

    Raises:
        ValueError: a size that is too small, an unknown activation or head.
    """

    provides: ClassVar[set[str]] = {"two_energies"}
    needs: ClassVar[dict[str, str]] = {
        "vectors": "it makes vectors; use data=ring or data=digits",
        "score_generating": "a generator is pulled by two energies; use task=score_generator",
    }

    def __init__(
        self,
        input_dim: int,
        init: Init,
        latent_dim: int = 2,
        dim: int = 128,
        num_layers: int = 3,
        activation: Activation = "silu",
        head: Literal["linear", "quadratic"] = "linear",
        generator_dim: int = 64,
        generator_layers: int = 2,
    ) -> None:
        super().__init__()
        at_least(1, latent_dim=latent_dim, generator_dim=generator_dim)
        at_least(0, most=MOST_LAYERS, generator_layers=generator_layers)
        data, generated = (
            EnergyMLP(input_dim, init, dim, num_layers, activation, head) for _ in range(2)
        )
        self.latent_dim = latent_dim
        self.generator = MLPGenerator(
            latent_dim, input_dim, generator_dim, generator_layers, "linear"
        )
        init.apply(self.generator)
        self.critic: nn.Module = EnergyPair(data, generated)

    def forward(self, z: Float[Tensor, "b z"]) -> Float[Tensor, " b"]:
        """Return the critic of generated points."""
        return self.critic(self.generator(z))
