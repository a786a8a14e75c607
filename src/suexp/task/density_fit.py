"""Densities whose parameters are not found by gradients."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from suexp.nn.density import FittedDensity
from suexp.task._density import DensityTask
from suexp.task.closed_form import ClosedForm


class DensityFit(DensityTask, ClosedForm):
    r"""Fit a density by sums over the rows, $S = \sum_i s(x_i)$, and evaluate it as an autoencoder.

    Batches hold vectors ``x`` (B, D). The model says what is summed, in how many passes, and what
    follows from it; what is logged for validation and test is said in `DensityTask`. On Apple's GPU
    there is no float64: the run takes the CPU.

    Post: https://kexue.fm/archives/8791.

    Args:
        proposal: whose samples estimate the density of a model with latents: ``encoder``, ``prior``
            or ``posterior``.
        compare_prior: estimate by samples of the prior as well.
        eval_num_samples: the numbers of samples M.
        max_samples_in_memory: most latents that are decoded at once.
        seed: of the samples.
        parts: what every task is given.

    Raises:
        ValueError: a number below 1, or no M at all.
    """

    provides: ClassVar[set[str]] = {"density_fitting"}
    needs: ClassVar[dict[str, str]] = {
        "fitted_density": "it fits a density; use model=ppca, gaussian or gmm, or "
        "task=autoencoding for model=vae",
        "vectors": "it reads vectors; use data=mixture2d, or data=digits with data.dequantize=true",
        "exact_posterior if proposal=posterior": "the posterior must be known; use model=ppca",
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
        model: FittedDensity = self.model
        self.passes = model.passes

    def trainer_settings(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Return a Trainer's arguments for whole passes, in float64 parameters."""
        settings = {**super().trainer_settings(chosen), "precision": "32-true"}
        if torch.backends.mps.is_available() and chosen.get("accelerator") in ("auto", "mps"):
            settings["accelerator"] = "cpu"
        return settings

    def accumulate(self, batch: dict[str, Tensor]) -> None:
        """Add what the model asks for of a batch."""
        statistics = self.model.statistics(self.widened(batch["x"]), self.pass_number)
        for name, value in statistics.items():
            if name not in self.sums:
                self.sums[name] = value
            elif name == "rows":
                self.sums[name] = torch.cat([self.sums[name], value])
            else:
                self.sums[name] = self.sums[name] + value

    def solve(self) -> None:
        """Set the model's parameters."""
        self.model.solve(self.joined(), self.pass_number)

    def joined(self) -> dict[str, Tensor]:
        """Return the sums over all processes, and all their rows."""
        joined = {
            name: self.over_processes(total) for name, total in self.sums.items() if name != "rows"
        }
        if "rows" in self.sums:
            rows = self.sums["rows"]
            if self.trainer.world_size > 1:
                everyone: list[Any] = [None] * self.trainer.world_size
                torch.distributed.all_gather_object(everyone, rows.cpu())
                rows = torch.cat(everyone).to(self.device)
            joined["rows"] = rows
        return joined

    def log_density(self, x: Tensor) -> Tensor:
        """Return the log-density of points (n, d)."""
        found: Tensor = self.model.log_prob(x)
        return found

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Return points (n, d) drawn from the density of a model that can draw."""
        found: Tensor = self.model.sample(count, torch.Generator().manual_seed(seed))
        return found
