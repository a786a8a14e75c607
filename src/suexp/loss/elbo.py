"""The variational autoencoder's loss."""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import at_least
from suexp.nn.density import LatentDensity, kl_to_standard_normal


class ELBO(nn.Module, Component):
    r"""$L = -\frac1B \sum_b [\log q(x_b|z_b) - \beta (\log p(z_b|x_b) - \log q(z_b))]$.

    One reparametrised sample $z_b = \mu + \sigma \epsilon$ each: with $\beta = 1$ this is minus the
    logarithm of the one-sample estimate of q(x), which is the post's way to the VAE. With
    ``kl=analytic`` the bracket's second part is replaced by its mean, the divergence
    $\mathrm{KL}(p(z|x) \| q(z))$: the same expectation, another variance. It exists for one sample
    only. Shapes: x (B, D).

    Post: https://kexue.fm/archives/8791. Paper: Kingma and Welling, Auto-Encoding Variational
    Bayes, https://arxiv.org/abs/1312.6114; $\beta$: Higgins et al., beta-VAE,
    https://openreview.net/forum?id=Sy2fzU9gl.

    Args:
        kl: ``sampled`` or ``analytic``.
        beta: $\beta$; other than 1 the loss is no bound of the log-density.

    Raises:
        ValueError: an unknown kl, or a negative beta.

    Example:
        >>> import torch
        >>> from suexp.loss import ELBO
        >>> from suexp.model import VAE
        >>> from suexp.init import Default
        >>> _ = torch.manual_seed(0)
        >>> model = VAE(input_dim=4, init=Default(), latent_dim=2, hidden_dims=(8,))
        >>> loss = ELBO(kl="analytic")(model, torch.zeros(3, 4))
        >>> loss.shape, bool(loss.isfinite())
        (torch.Size([]), True)
    """

    provides: ClassVar[set[str]] = {"evidence_bound"}
    needs: ClassVar[dict[str, str]] = {
        "latent_density": "it bounds the density of a model with latents; use model=vae"
    }

    def __init__(self, kl: Literal["sampled", "analytic"] = "sampled", beta: float = 1.0) -> None:
        super().__init__()
        if kl not in ("sampled", "analytic"):
            raise ValueError(f"kl must be sampled or analytic, not {kl}")
        at_least(0, beta=beta)
        self.kl, self.beta = kl, beta

    def forward(self, model: LatentDensity, x: Float[Tensor, "b i"]) -> Float[Tensor, ""]:
        """Return the mean over the batch, in nats."""
        drawn = model.draw(x)
        if self.kl == "analytic":
            kl = kl_to_standard_normal(drawn.mean, drawn.log_var)
        elif self.beta == 1:  # in the very order of the importance weight, whose value it equals
            return -drawn.log_weights.mean()
        else:
            kl = drawn.log_proposal - drawn.log_prior
        return -(drawn.log_likelihood - self.beta * kl).mean()
