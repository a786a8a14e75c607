"""Mixtures of normal distributions whose densities, scores and noised forms are formulas."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor


class GaussianMixture:
    r"""$p(x) = \sum_k w_k N(x; \mu_k, \Sigma_k)$ and its score $\nabla \log p$.

    The score is the mean of $\Sigma_k^{-1}(\mu_k - x)$ over $p(k|x)$. With noise of variance
    $\sigma^2$ on x it is again a mixture, of covariances $\Sigma_k + \sigma^2 I$, and the best
    denoiser is $E[x|u] = u + \sigma^2 \nabla \log p_\sigma(u)$ (https://kexue.fm/archives/7038).

    Shapes: weights (k,), means (k, d), covariances (k, d, d), points (n, d).

    Args:
        weights: at least 0; they are divided by their sum.
        means: of the components.
        covariances: of the components; numbers are variances in all directions.

    Example:
        >>> mixture = GaussianMixture([1.0, 1.0], [[-1.0], [1.0]], 0.25)
        >>> mixture.noised(0.75).covariances.flatten().tolist()
        [1.0, 1.0]
    """

    def __init__(self, weights: Any, means: Any, covariances: Any) -> None:
        self.means = torch.as_tensor(means, dtype=torch.float64)
        count, self.dim = self.means.shape
        weights = torch.as_tensor(weights, dtype=torch.float64)
        self.weights = weights / weights.sum()
        spread = torch.as_tensor(covariances, dtype=torch.float64)
        if spread.dim() < 2:
            spread = spread.expand(count)[:, None, None] * torch.eye(self.dim, dtype=torch.float64)
        self.covariances = spread.expand(count, self.dim, self.dim)
        self._roots = torch.linalg.cholesky(self.covariances)
        self._precisions = torch.cholesky_inverse(self._roots)
        log_det = 2 * self._roots.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        self._heights = self.weights.log() - 0.5 * (log_det + self.dim * math.log(2 * math.pi))

    def mapped(self, matrix: Any, noise: float = 0.0) -> "GaussianMixture":
        r"""Return the law of $Ax + \sqrt{v}\epsilon$: A a matrix or a number, v ``noise``."""
        a = torch.as_tensor(matrix, dtype=torch.float64)
        eye = torch.eye(self.dim, dtype=torch.float64)
        a = a * eye if a.dim() == 0 else a
        spread = a @ self.covariances @ a.mT + noise * eye
        return GaussianMixture(self.weights, self.means @ a.mT, spread)

    def noised(self, variance: float) -> "GaussianMixture":
        """Return the law of x with noise of this variance."""
        return self.mapped(1.0, variance)

    def _joint(self, x: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor]:
        r"""Return $\log w_k N(x; k)$ (k, n) and $\Sigma_k^{-1}(\mu_k - x)$ (k, n, d)."""
        means, precisions, heights = (
            part.to(x) for part in (self.means, self._precisions, self._heights)
        )
        # One product of all points with all precisions; the components come first, where sums
        # over a few of them are fast.
        pull = means[:, None] @ precisions - x @ precisions
        far = ((means[:, None] - x) * pull).sum(-1)
        return heights[:, None] - 0.5 * far, pull

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return log p(x)."""
        return self._joint(x)[0].logsumexp(0)

    def score(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        r"""Return $\nabla \log p(x)$."""
        joint, pull = self._joint(x)
        return torch.einsum("kn,knd->nd", joint.softmax(0), pull)

    def sample(
        self,
        count: int,
        generator: Generator,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        """Return independent points."""
        shape = (count, self.dim)
        noise = torch.randn(shape, generator=generator, dtype=dtype, device=device)
        weights = self.weights.to(device, dtype)
        k = torch.multinomial(weights, count, replacement=True, generator=generator)
        roots, means = self._roots.to(noise), self.means.to(noise)
        return means[k] + torch.einsum("nde,ne->nd", roots[k], noise)


def normal(mean: Sequence[float], variance: Any) -> GaussianMixture:
    """Return one normal distribution: ``variance`` a number or a matrix (d, d)."""
    spread = torch.as_tensor(variance, dtype=torch.float64)
    return GaussianMixture([1.0], [list(mean)], spread[None] if spread.dim() == 2 else spread)
