"""Activations by name, and what each does to the second moment of its input."""

import functools
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn


class SquaredReLU(nn.Module):
    r"""$f(z) = \max(z, 0)^2$; So et al., Primer, arXiv:2109.08668."""

    def forward(self, z: Tensor) -> Tensor:
        """Return f(z)."""
        return z.relu().square()


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "leaky_relu": nn.LeakyReLU,
    "squared_relu": SquaredReLU,
}


# Their names, and the same divided by the root of their second moments; for `activation`.
Activation = Literal[
    "relu",
    "gelu",
    "silu",
    "tanh",
    "sigmoid",
    "softplus",
    "elu",
    "selu",
    "leaky_relu",
    "squared_relu",
    "scaled_relu",
    "scaled_gelu",
    "scaled_silu",
    "scaled_tanh",
    "scaled_sigmoid",
    "scaled_softplus",
    "scaled_elu",
    "scaled_selu",
    "scaled_leaky_relu",
    "scaled_squared_relu",
]


@functools.cache
def second_moment(name: str) -> float:
    r"""Return $E f(z)^2$ for z ~ N(0, 1), by Gauss-Legendre quadrature on either side of 0.

    Reference: https://kexue.fm/archives/7180, which divides weights by its root.

    Args:
        name: one of `ACTIVATIONS`.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> from suexp.nn.activation import second_moment
        >>> round(second_moment("relu"), 6), round(second_moment("tanh"), 6)
        (0.5, 0.394294)
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {name}")
    nodes, weights = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(200))
    half = 6 * (nodes + 1)  # 0 to 12, where the density ends
    with torch.no_grad():
        f = ACTIVATIONS[name]()
        both = sum(f(z).square() for z in (half, -half))
        density = (-half.square() / 2).exp() / (2 * np.pi) ** 0.5
        return float((6 * weights * density * both).sum())


def gain(name: str) -> float:
    r"""Return $(E f(z)^2)^{-1/2}$: what keeps the second moment at 1 behind the activation.

    The factor belongs on the output, f / sqrt(E f^2). On the weights before f, where initialisers
    put it, it keeps the moment only where f(c z) = c f(z), as for relu and leaky_relu.

    Args:
        name: one of `ACTIVATIONS`, or ``scaled_`` and one of them, whose gain is 1.

    Raises:
        ValueError: an unknown name.
    """
    return 1.0 if name.startswith("scaled_") else second_moment(name) ** -0.5


class Scaled(nn.Module):
    r"""$f(z) / \sqrt{E f(z)^2}$, whose second moment is 1 for z ~ N(0, 1).

    Reference: https://kexue.fm/archives/7180, its adjusted activations.

    Args:
        name: f, one of `ACTIVATIONS`.

    Raises:
        ValueError: an unknown name.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.gain = name, gain(name)
        self.inner = ACTIVATIONS[name]()

    def forward(self, z: Tensor) -> Tensor:
        """Return the scaled f(z)."""
        return self.gain * self.inner(z)


def activation(name: str) -> nn.Module:
    """Return the activation of a name; ``scaled_relu`` is relu over its second moment's root.

    Raises:
        ValueError: an unknown name.
    """
    plain = name.removeprefix("scaled_")
    if plain not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"activation must be one of {known}, or scaled_ and one, not {name}")
    return Scaled(plain) if name != plain else ACTIVATIONS[name]()
