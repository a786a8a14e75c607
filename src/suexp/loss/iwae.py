"""The importance weighted autoencoder's loss."""

import functools
import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import at_least
from suexp.nn.density import LatentDensity


class IWAE(nn.Module, Component):
    r"""$L = -\frac1B \sum_b \log \frac1M \sum_i w_{bi}$, $w = q(x|z) q(z) / p(z|x)$, z from p(z|x).

    Minus the logarithm of the M-sample estimate of the density. M = 1 is `ELBO`. With $\tilde w =
    \mathrm{softmax}(\log w)$ its gradient is $\sum_i \tilde w_i \nabla \log w_i$; that of the
    encoder drowns in noise as M grows (Rainforth et al., https://arxiv.org/abs/1802.04537).
    ``dreg`` gives the encoder $\sum_i \tilde w_i^2 \frac{\partial \log w_i}{\partial z_i}
    \frac{\partial z_i}{\partial \phi}$ instead: the same mean with less noise. Shapes: x (B, D),
    weights (M, B).

    Post: https://kexue.fm/archives/8791. Papers: Burda et al., Importance Weighted Autoencoders,
    https://arxiv.org/abs/1509.00519; Tucker et al., Doubly Reparameterized Gradient Estimators,
    https://arxiv.org/abs/1810.04152.

    Args:
        num_samples: M; memory and time grow with it.
        estimator: of the gradient: ``iwae`` or ``dreg``. The value is the same.

    Raises:
        ValueError: no sample, or an unknown estimator.

    Example:
        >>> import torch
        >>> from suexp.loss import ELBO, IWAE
        >>> from suexp.model import VAE
        >>> from suexp.init import Default
        >>> _ = torch.manual_seed(0)
        >>> model = VAE(input_dim=4, init=Default(), latent_dim=2, hidden_dims=(8,))
        >>> x = torch.zeros(512, 4)
        >>> bool(IWAE(num_samples=50)(model, x) < ELBO()(model, x))  # a tighter bound
        True
    """

    provides: ClassVar[set[str]] = {"evidence_bound"}
    needs: ClassVar[dict[str, str]] = {
        "latent_density": "it bounds the density of a model with latents; use model=vae"
    }

    def __init__(self, num_samples: int = 5, estimator: Literal["iwae", "dreg"] = "iwae") -> None:
        super().__init__()
        at_least(1, num_samples=num_samples)
        if estimator not in ("iwae", "dreg"):
            raise ValueError(f"estimator must be iwae or dreg, not {estimator}")
        self.num_samples, self.estimator = num_samples, estimator

    def forward(self, model: LatentDensity, x: Float[Tensor, "b i"]) -> Float[Tensor, ""]:
        """Return the mean over the batch, in nats."""
        doubly = self.estimator == "dreg"
        drawn = model.draw(x, self.num_samples, stop_proposal=doubly)
        log_w = drawn.log_weights
        loss = -(log_w.logsumexp(0) - math.log(self.num_samples)).mean()
        if not doubly or not drawn.z.requires_grad:
            return loss
        weights = log_w.detach().softmax(0)
        # The gradient that reaches z carries one factor of the weight already.
        weigh = functools.partial(torch.mul, weights[..., None])
        drawn.z.register_hook(weigh)  # type: ignore[no-untyped-call]
        return loss
