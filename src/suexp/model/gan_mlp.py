"""Generator and critic as multi-layer perceptrons."""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import MOST_LAYERS, at_least
from suexp.init.base import Init
from suexp.nn.linear import Linear

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "softplus": nn.Softplus,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
Activation = Literal["leaky_relu", "relu", "softplus", "silu", "tanh"]


class MLPGenerator(nn.Module):
    r"""$G(z) = f_{out}(W h_L + b)$ with $h_l = \mathrm{relu}(W_l h_{l-1} + b_l)$, $h_0 = z$.

    Args:
        latent_dim: size of z.
        output_dim: size of the points.
        dim: size of the hidden layers.
        num_layers: how many there are.
        output: $f_{out}$: linear, or tanh for points in [-1, 1].
    """

    def __init__(
        self,
        latent_dim: int,
        output_dim: int,
        dim: int,
        num_layers: int,
        output: Literal["linear", "tanh"],
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size = latent_dim
        for _ in range(num_layers):
            layers += [Linear(size, dim), nn.ReLU()]
            size = dim
        self.layers = nn.Sequential(*layers, Linear(size, output_dim))
        if output == "tanh":
            self.layers.append(nn.Tanh())

    def forward(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b d"]:
        """Return the points of these latent vectors."""
        return self.layers(z)


class MLPCritic(nn.Module):
    r"""$D(x) = w^\top h_L + b$ with $h_l = f(W_l h_{l-1} + b_l)$, $h_0 = x$.

    With leaky ReLUs D is piecewise linear; without biases also positively homogeneous,
    $D(cx) = cD(x)$ for c > 0, so that $D(x) = \langle\nabla D(x), x\rangle$.

    Args:
        input_dim: size of the points.
        dim: size of the hidden layers.
        num_layers: how many there are.
        activation: f, by name.
        negative_slope: of leaky_relu below 0.
        bias: whether the layers have biases.
    """

    def __init__(
        self,
        input_dim: int,
        dim: int,
        num_layers: int,
        activation: Activation,
        negative_slope: float,
        bias: bool,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size = input_dim
        for _ in range(num_layers):
            layers.append(Linear(size, dim, bias=bias))
            if activation == "leaky_relu":
                layers.append(nn.LeakyReLU(negative_slope))
            else:
                layers.append(ACTIVATIONS[activation]())
            size = dim
        self.layers = nn.Sequential(*layers, Linear(size, 1, bias=bias))

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Return the scores of these points."""
        return self.layers(x).squeeze(-1)


class GanMLP(nn.Module, Component):
    r"""A generator $x = G(z)$ and a critic $D(x)$, both multi-layer perceptrons.

    Shapes: latent z (b, latent_dim), points (b, input_dim), scores (b,). The critic has neither
    norms nor dropout: its gradient at a point must not depend on other points or on chance.

    The hidden layers of G are ReLUs. Biases begin at 0, where the critic is positively homogeneous;
    see https://kexue.fm/archives/8757 for why that matters.

    References: Goodfellow et al., Generative Adversarial Networks, arXiv:1406.2661; the setting of
    Gulrajani et al., arXiv:1704.00028, on toy data.

    Args:
        input_dim: size of the points.
        init: draws the weights.
        latent_dim: size of z.
        dim: size of the hidden layers of both.
        num_layers: hidden layers of each.
        activation: the critic's: leaky_relu, relu, softplus, silu or tanh; the first two make it
            piecewise linear.
        negative_slope: of leaky_relu below 0.
        bias: whether the critic has biases; the generator always has.
        output: what the generator ends with: linear, or tanh for points in [-1, 1].

    Raises:
        ValueError: a size that is too small, an unknown activation or output.
    """

    provides: ClassVar[set[str]] = {"critic"}
    needs: ClassVar[dict[str, str]] = {
        "adversarial": "a generator and its critic are trained against each other; "
        "use task=adversarial",
        "vectors": "it makes vectors; use data=ring or data=digits",
    }
    refuses: ClassVar[dict[str, str]] = {
        # A mask that restricts nothing is what some tasks choose for texts.
    }

    def __init__(
        self,
        input_dim: int,
        init: Init,
        latent_dim: int = 2,
        dim: int = 128,
        num_layers: int = 3,
        activation: Activation = "leaky_relu",
        negative_slope: float = 0.1,
        bias: bool = True,
        output: Literal["linear", "tanh"] = "linear",
    ) -> None:
        super().__init__()
        at_least(1, input_dim=input_dim, latent_dim=latent_dim, dim=dim)
        at_least(0, most=MOST_LAYERS, num_layers=num_layers)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation}"
            )
        if output not in ("linear", "tanh"):
            raise ValueError(f"output must be linear or tanh, not {output}")
        self.latent_dim = latent_dim
        self.generator = MLPGenerator(latent_dim, input_dim, dim, num_layers, output)
        self.critic: nn.Module = MLPCritic(
            input_dim, dim, num_layers, activation, negative_slope, bias
        )
        init.apply(self)

    def forward(self, z: Float[Tensor, "b z"]) -> Float[Tensor, " b"]:
        """Return the critic's scores of generated points."""
        return self.critic(self.generator(z))
