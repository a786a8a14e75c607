"""Training of a density with latents through a bound of it."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor

from suexp.task._density import DensityTask


class Autoencoding(DensityTask):
    r"""Train $q(x) = E_{z \sim p(z|x)}[q(x|z) q(z) / p(z|x)]$: a mixture and its proposal.

    Batches hold vectors ``x`` (B, D). The loss, ``elbo`` or ``iwae``, is minus the logarithm of an
    estimate of the density; what is logged for validation and test is said in `DensityTask`.

    Post: https://kexue.fm/archives/8791. Papers: Kingma and Welling,
    https://arxiv.org/abs/1312.6114; Burda et al., https://arxiv.org/abs/1509.00519.

    Args:
        proposal: whose samples estimate the density: ``encoder`` or ``prior``.
        compare_prior: estimate by samples of the prior as well.
        eval_num_samples: the numbers of samples M.
        max_samples_in_memory: most latents that are decoded at once.
        seed: of the samples.
        parts: what every task is given.

    Raises:
        ValueError: a number below 1, or no M at all.
    """

    provides: ClassVar[set[str]] = {"density_training"}
    needs: ClassVar[dict[str, str]] = {
        "latent_density": "it trains a density with latents; use model=vae, or task=density_fit "
        "for model=ppca, gaussian and gmm",
        "evidence_bound": "it needs a bound of the density; use loss=elbo or loss=iwae",
        "vectors": "it reads vectors; use data=mixture2d, or data=digits with data.dequantize=true",
        "exact_posterior if proposal=posterior": "the posterior must be known; use "
        "task.proposal=encoder, or task=density_fit with model=ppca",
    }

    def __init__(
        self,
        proposal: Literal["encoder", "prior", "posterior"] = "encoder",
        compare_prior: bool = False,
        eval_num_samples: Sequence[int] = (1, 10, 100, 1000),
        max_samples_in_memory: int = 50_000,
        seed: int = 0,
        **parts: Any,
    ) -> None:
        super().__init__(
            proposal, compare_prior, eval_num_samples, max_samples_in_memory, seed, **parts
        )

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the bound's mean over the batch, in nats, with its sign turned."""
        return self.loss(self.model, batch["x"])
