"""Test functions of the plane and the line, and what an equation makes of them."""

import itertools
import math
import warnings
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.nn.gaussian_mixture import GaussianMixture

Phi = Callable[[Tensor], Tensor]


class TestFunctions:
    r"""$x_1$, $|x|^2$, a bump $e^{-|x - c|^2/2w^2}$, and $\cos(k \cdot x)$, $\sin(k \cdot x)$.

    k is each frequency times each direction: the axes, and in the plane their diagonal. The
    unbounded two are fit for light tails only. Shapes: points (n, d), values (n, F).

    Args:
        dim: d.
        frequencies: lengths of k.
        centre: c, the same in all directions.
        width: w.

    Attributes:
        names: of the F functions.
        waves: which of them are cosines; the sine of the same k follows the cosine.
    """

    __test__ = False  # to pytest it looks like tests

    def __init__(
        self, dim: int, frequencies: Sequence[float], centre: float = 0.5, width: float = 0.5
    ) -> None:
        directions = torch.eye(dim, dtype=torch.float64)
        labels = [""] if dim == 1 else [f"_x{i + 1}" for i in range(dim)]
        if dim == 2:
            directions = torch.cat([directions, torch.full((1, 2), 0.5**0.5, dtype=torch.float64)])
            labels.append("_diagonal")
        pairs = list(itertools.product(frequencies, range(len(labels))))
        self.k = torch.stack([w * directions[i] for w, i in pairs])
        self.names = ["x", "x2", "bump"]
        for w, i in pairs:
            self.names += [f"cos{w:g}{labels[i]}", f"sin{w:g}{labels[i]}"]
        self.waves = list(range(3, len(self.names), 2))
        self.centre, self.width = centre, width
        self.shortest_wave = 2 * math.pi / max(frequencies)

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """Return the values."""
        bump = (-(x - self.centre).square().sum(-1) / (2 * self.width**2)).exp()
        plain = torch.stack([x[:, 0], x.square().sum(-1), bump], -1)
        phase = x @ self.k.to(x).T
        waves = torch.stack([phase.cos(), phase.sin()], -1).flatten(1)
        return torch.cat([plain, waves], -1)

    def means(self, law: GaussianMixture) -> Float[Tensor, " f"]:
        """Return the expectations under a mixture of normal distributions, by formula."""
        m, v = law.means, law.covariances
        wide = v + self.width**2 * torch.eye(law.dim, dtype=v.dtype)
        off = (m - self.centre)[..., None]
        far = (off.mT @ torch.linalg.solve(wide, off))[:, 0, 0]
        bump = self.width**law.dim * torch.linalg.det(wide).rsqrt() * (-far / 2).exp()
        square = m.square().sum(-1) + v.diagonal(dim1=-2, dim2=-1).sum(-1)
        phase = m @ self.k.T
        damped = (-0.5 * torch.einsum("fd,kde,fe->kf", self.k, v, self.k)).exp()
        waves = torch.stack([damped * phase.cos(), damped * phase.sin()], -1).flatten(1)
        each = torch.cat([torch.stack([m[:, 0], square, bump], -1), waves], -1)
        return law.weights @ each


with warnings.catch_warnings():
    # On first use torch compiles its rules for forward mode by means that it deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.ones(1),))


def along(phi: Phi, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return $\phi(x)$ and $v \cdot \nabla \phi(x)$."""
    found: tuple[Tensor, Tensor] = torch.func.jvp(phi, (x,), (v,))  # type: ignore[assignment]
    return found


def curvature(phi: Phi, x: Tensor, v: Tensor) -> Tensor:
    r"""Return $v^\top \nabla\nabla\phi(x)\, v$, forward over forward."""

    def slope(y: Tensor) -> Tensor:
        return along(phi, y, v)[1]

    return along(slope, x, v)[1]


def laplacian(phi: Phi, x: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
    r"""Return $\Delta \phi$, exactly: one `curvature` for each of the d axes."""
    total: Tensor | float = 0.0
    for axis in torch.eye(x.shape[1], dtype=x.dtype, device=x.device):
        total = total + curvature(phi, x, axis.expand_as(x).contiguous())
    return torch.as_tensor(total)


# What each operator makes of g^2/2 in front of the Laplacian.
OPERATORS: dict[str, float] = {
    "fokker_planck": 1.0,
    "continuity": 0.0,
    "no_half": 2.0,
    "wrong_sign": -1.0,
}


def generator(
    phi: Phi, x: Tensor, drift: Tensor, half_square: float, operator: str
) -> Float[Tensor, "n f"]:
    r"""Return $L\phi = f \cdot \nabla\phi + \frac12 g^2 \Delta\phi$, or what is taken for it.

    Args:
        phi: test functions.
        x: points (n, d).
        drift: f at x.
        half_square: $g^2/2$.
        operator: ``fokker_planck``; ``continuity`` drops the Laplacian, ``no_half`` has $g^2$
            before it, ``wrong_sign`` minus.
    """
    moved = along(phi, x, drift)[1]
    weight = OPERATORS[operator] * half_square
    return moved if weight == 0 else moved + weight * laplacian(phi, x)
