"""A mixture of Gaussians, by scikit-learn."""

import warnings
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.errors import UserError, at_least
from suexp.nn.density import LOG_2_PI, FittedDensity


class GMM(FittedDensity):
    r"""$q(x) = \sum_k \pi_k N(x; \mu_k, \Sigma_k)$, fitted by expectation maximisation.

    All rows are kept for the fit, which starts from k-means. Shapes: x (B, D), log q (B,), float64.

    Reference: Bishop, Pattern Recognition and Machine Learning, section 9.2,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/; a
    finite mixture beside the infinite one of https://kexue.fm/archives/8791.

    Args:
        input_dim: D.
        num_components: K.
        covariance: ``full`` or ``diagonal``.
        ridge: what is added to the variances, which keeps a component from shrinking to a point.
        max_iter: most iterations.
        seed: of k-means.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        input_dim: int,
        num_components: int = 10,
        covariance: Literal["full", "diagonal"] = "full",
        ridge: float = 1e-3,
        max_iter: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(input_dim)
        if covariance not in ("full", "diagonal"):
            raise ValueError(f"covariance must be full or diagonal, not {covariance}")
        at_least(1, num_components=num_components, max_iter=max_iter)
        at_least(0, ridge=ridge)
        self.num_components, self.covariance = num_components, covariance
        self.ridge, self.max_iter, self.seed = ridge, max_iter, seed
        self.log_shares = self.fixed(num_components)
        self.means = self.fixed(num_components, input_dim)
        # Upper triangular P with P P^T the inverse of a covariance.
        self.roots = self.fixed(num_components, input_dim, input_dim)

    def statistics(self, x: Float[Tensor, "b i"], pass_number: int) -> dict[str, Tensor]:
        """Return the rows themselves."""
        del pass_number
        return {"rows": x}

    def solve(self, sums: dict[str, Tensor], pass_number: int) -> None:
        """Fit the mixture.

        Raises:
            UserError: there are fewer rows than components, or a covariance is singular.
        """
        del pass_number
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(
            self.num_components,
            covariance_type={"full": "full", "diagonal": "diag"}[self.covariance],
            reg_covar=self.ridge,
            max_iter=self.max_iter,
            random_state=self.seed,
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                mixture.fit(sums["rows"].cpu().numpy())
        except ValueError as error:
            reason = str(error).split(". ")[0]
            raise UserError(
                f"model=gmm: {reason}; see model.num_components, model.ridge"
            ) from error
        self.log_shares.copy_(torch.from_numpy(mixture.weights_).log())
        self.means.copy_(torch.from_numpy(mixture.means_))
        roots = torch.from_numpy(mixture.precisions_cholesky_)
        self.roots.copy_(roots if self.covariance == "full" else torch.diag_embed(roots))

    def log_prob(self, x: Float[Tensor, "b i"]) -> Float[Tensor, " b"]:
        """Return log q(x) in nats."""
        roots = self.roots.double()
        off = (x.double() - self.means.double()[:, None]) @ roots
        log_det = roots.diagonal(dim1=1, dim2=2).log().sum(-1)
        constant = self.log_shares.double() + log_det - 0.5 * self.input_dim * LOG_2_PI
        return (constant[:, None] - 0.5 * off.square().sum(-1)).logsumexp(0)
