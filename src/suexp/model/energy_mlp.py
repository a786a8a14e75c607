"""An energy: a number for each point, whose gradient is minus a score."""

import warnings
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import MOST_LAYERS, at_least, one_of
from suexp.init.base import Init
from suexp.nn.activation import Activation
from suexp.nn.activation import activation as make
from suexp.nn.linear import Linear

# They have no curvature, so that a loss on gradients tells the weights little.
BROKEN = ("relu", "leaky_relu", "scaled_relu", "scaled_leaky_relu")


class EnergyMLP(nn.Module, Component):
    r"""$E(x)$ with $p(x) \propto e^{-E(x)}$: a multi-layer perceptron with one output.

    $h_l = f(W_l h_{l-1} + b_l)$, $h_0 = x$; ``head=linear``: $E = a \cdot h$; ``head=quadratic``:
    $E = (a \cdot h + a_0)(b \cdot h + b_0) + c \cdot h^2$, as Li et al. have it; no constant is
    added, which no gradient would tell. There is no norm and no dropout: the gradient at a point is
    its own. Shapes: points (b, input_dim), energies (b,).

    Post: https://kexue.fm/archives/7038. Paper: Li et al., Learning Energy-Based Models in
    High-Dimensional Spaces with Multi-scale Denoising Score Matching, arXiv:1910.07762.

    Args:
        input_dim: size of the points.
        init: draws the weights.
        dim: size of the hidden layers.
        num_layers: how many there are.
        activation: f, a smooth one: silu, softplus, elu, tanh, gelu; with a piecewise linear one
            there is a warning.
        head: ``linear`` or ``quadratic``.

    Raises:
        ValueError: a size that is too small, an unknown activation or head.
    """

    provides: ClassVar[set[str]] = {"energy"}
    needs: ClassVar[dict[str, str]] = {
        "vectors": "it reads vectors; use data=ring or data=digits",
        "score_matching": "it is trained by its gradient; use task=score_energy",
    }

    def __init__(
        self,
        input_dim: int,
        init: Init,
        dim: int = 128,
        num_layers: int = 3,
        activation: Activation = "silu",
        head: Literal["linear", "quadratic"] = "linear",
    ) -> None:
        super().__init__()
        at_least(1, input_dim=input_dim, dim=dim)
        at_least(0, most=MOST_LAYERS, num_layers=num_layers)
        one_of(("linear", "quadratic"), head=head)
        if activation in BROKEN:
            warnings.warn(
                f"activation={activation} has no curvature, by which an energy learns from its "
                "gradient; use silu, softplus or elu",
                stacklevel=2,
            )
        self.activation = activation
        layers: list[nn.Module] = []
        size = input_dim
        for _ in range(num_layers):
            layers += [Linear(size, dim), make(activation)]
            size = dim
        self.hidden = nn.Sequential(*layers)
        self.head = head
        # A constant moves no gradient: it would never be trained.
        self.energy = Linear(size, 1, bias=head == "quadratic")
        if head == "quadratic":
            self.factor, self.square = Linear(size, 1), Linear(size, 1, bias=False)
        init.apply(self)

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Return the energies."""
        h = self.hidden(x)
        energy = self.energy(h)
        if self.head == "quadratic":
            energy = energy * self.factor(h) + self.square(h.square())
        return energy.squeeze(-1)
