"""A single Gaussian."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.errors import UserError, at_least
from suexp.nn.density import LOG_2_PI, MomentDensity


class Gaussian(MomentDensity):
    r"""$q(x) = N(x; \mu, \Sigma)$ with the moments of the training rows: the simplest density.

    Shapes: x (B, D), log q (B,), float64.

    Reference: Bishop, Pattern Recognition and Machine Learning, section 2.3.4,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/; a
    baseline of https://kexue.fm/archives/8791.

    Args:
        input_dim: D.
        covariance: ``full`` or ``diagonal``.
        ridge: what is added to the variances.
        ddof: what is subtracted from the number of rows; 0: the likelihood's maximum.

    Raises:
        ValueError: a value out of range.
    """

    provides: ClassVar[set[str]] = {"fitted_density", "samples"}

    def __init__(
        self,
        input_dim: int,
        covariance: Literal["full", "diagonal"] = "full",
        ridge: float = 0.0,
        ddof: int = 0,
    ) -> None:
        super().__init__(input_dim, ddof)
        if covariance not in ("full", "diagonal"):
            raise ValueError(f"covariance must be full or diagonal, not {covariance}")
        at_least(0, ridge=ridge)
        self.covariance, self.ridge = covariance, ridge
        self.cholesky = self.fixed(input_dim, input_dim)

    def set_covariance(self, covariance: Float[Tensor, "i i"]) -> None:
        """Set the triangular root of the covariance.

        Raises:
            UserError: it is singular: a constant column, or fewer rows than columns.
        """
        if self.covariance == "diagonal":
            covariance = covariance.diag().diag()
        covariance = covariance + self.ridge * torch.eye(self.input_dim, dtype=covariance.dtype)
        root, info = torch.linalg.cholesky_ex(covariance)
        if info > 0 or root.diag().min() < 1e-7 * root.diag().max():
            raise UserError(
                "the covariance is singular (a constant column, or fewer rows than columns): set "
                "model.ridge=1e-3 or dequantize the data"
            )
        self.cholesky.copy_(root)

    def log_prob(self, x: Float[Tensor, "b i"]) -> Float[Tensor, " b"]:
        """Return log q(x) in nats."""
        root = self.cholesky.double()
        off = torch.linalg.solve_triangular(root, (x - self.mean).double().mT, upper=False)
        log_det = 2 * root.diagonal().log().sum()
        return -0.5 * (self.input_dim * LOG_2_PI + log_det + off.square().sum(0))

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "n i"]:
        """Return independent points."""
        shape = (count, self.input_dim)
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        return self.mean + (noise.to(self.cholesky) @ self.cholesky.T)
