"""An energy that is learned by denoising, and points drawn from it."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.data.base import Data
from suexp.errors import UserError
from suexp.nn.input_gradient import require_independent
from suexp.sampler.base import Sampler, Score
from suexp.task._draws import generator_of
from suexp.task._mean import weighted_mean
from suexp.task._splits import Evaluated


class ScoreEnergy(Evaluated):
    r"""Learn $E(x)$, $p(x) \propto e^{-E(x)}$, by taking noise off points; draw from it.

    Batches hold ``x`` (B, d); the model returns energies (B,); the loss, ``denoising_score`` or
    ``multiscale_score``, takes the model and the points, differentiates the energy by its input
    and that by the weights. Logged for validation, and for the test split where there is one:
    ``loss``, on the same noise every time. What the energy has become is for
    ``callback=density_grid``, what its samples are for ``callback=sample_quality``.

    Post: https://kexue.fm/archives/7038. Papers: arXiv:2001.02728, arXiv:1910.07762.

    Args:
        sampler: how points are drawn; None: none can be.
        seed: of the noise in evaluations.
        parts: what every task is given.

    Raises:
        ValueError: an energy whose gradient at a point depends on others, or on chance.
        UserError: weights of 16 bits.
    """

    provides: ClassVar[set[str]] = {
        "score_matching",
        "score",
        "unnormalised_density",
        "samples if sampler",
    }
    needs: ClassVar[dict[str, str]] = {
        "energy": "it learns an energy; use model=energy_mlp",
        "denoising": "an energy learns by denoising; use loss=denoising_score or multiscale_score",
        "vectors": "it reads vectors; use data=ring or data=digits",
    }

    def __init__(self, sampler: Sampler | None = None, seed: int = 0, **parts: Any) -> None:
        super().__init__(**parts)
        require_independent(self.model, "model")
        self.sampler, self.seed = sampler, seed
        self.mean = weighted_mean()
        self._batches = 0

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the size of the points."""
        return {"input_dim": data.sizes["input_dim"]}

    def trainer_settings(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Refuse weights of 16 bits.

        Raises:
            UserError: weights are to have 16 bits.
        """
        if str(chosen.get("precision")) in ("16-true", "bf16-true"):
            raise UserError(
                f"trainer.precision={chosen['precision']}: the gradient of an energy does not fit "
                f"into 16 bits; use {chosen['precision'][:-4]}mixed"
            )
        return super().trainer_settings(chosen)

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the batch's mean loss."""
        loss: Tensor = self.loss(self.model, batch["x"])
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start anew; an evaluation that was broken off must not count."""
        self._batches = 0
        self.mean.reset()

    def on_test_epoch_start(self) -> None:
        """Start anew."""
        self.on_validation_epoch_start()

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Add the batch's loss."""
        if getattr(self.loss, "needs_step", False):
            self.loss.step = self.global_step
        generator = generator_of(self.device, self.seed, self.global_rank, self._batches)
        self._batches += 1
        loss = self.loss(self.model, batch["x"], generator)
        self.mean.update(loss.detach(), len(batch["x"]))

    def finish_split(self, split: str) -> None:
        """Log a split's figures."""
        self.report({f"{split}/loss": self.mean.compute()})
        self.mean.reset()

    @property
    def sigma(self) -> float:
        """The noise that the learned density has."""
        if getattr(self.loss, "needs_step", False):
            self.loss.step = self.global_step
        return float(self.loss.sigma)

    @torch.no_grad()
    def log_density(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return the log-density of points up to a constant, that of the data with noise sigma."""
        return -torch.cat([self.model(part) for part in torch.split(x, 8192)])

    def score(self) -> Score:
        """Return what the energy tells samplers."""
        found: Score = self.loss.score(self.model)
        return found

    def sample(self, count: int, seed: int = 0) -> Float[Tensor, "n d"]:
        """Return points drawn from the energy, the same for the same weights and seed."""
        assert self.sampler is not None
        like = next(self.model.parameters())
        dtype = torch.promote_types(like.dtype, torch.float32)
        generator = torch.Generator(like.device).manual_seed(seed)
        dim = self.data.sizes["input_dim"]
        x = self.sampler.start(count, dim, generator, dtype=dtype, device=like.device)
        was = self.model.training
        self.model.eval()
        x = self.sampler(self.score(), x, generator)
        self.model.train(was)
        return x
