"""The contract of every task that trains nothing: it draws samples and sums what it sees."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from suexp.errors import UserError
from suexp.task._draws import generator_of
from suexp.task.recorded import Recorded

Join = Literal["sum", "min", "max"]
JOINS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": torch.add,
    "min": torch.minimum,
    "max": torch.maximum,
}


class EstimationTask(Recorded):
    r"""Estimate expectations by sums over independent draws: $\hat\mu = \sum_i f(X_i) / N$.

    It runs through `Trainer.test` alone, so that devices, several processes and logging come from
    Lightning. A batch only says how many samples to draw (the length of its ``index``). The
    generator of a batch is seeded by (seed, global rank, batch index): a batch's samples do not
    depend on the batches before it, and totals that were restored go on where they stopped.

    A subclass names its totals with `add_total`, contributes to them in `draw`, and turns them into
    metrics in `summarise`. They live beside the parameters rather than among them: a run in 16 bits
    must not round its counts.

    Reference: Metropolis and Ulam, The Monte Carlo Method, https://doi.org/10.2307/2280232.

    Attributes:
        final: the estimates with all their digits.
        totals: what this process has summed up so far.
    """

    needs: ClassVar[dict[str, str]] = {
        "counter": "it draws its own samples and only counts them; use data=counter"
    }
    refuses: ClassVar[dict[str, str]] = {
        "mask": "nothing is trained, it takes no mask; leave that choice out",
        "transform": "nothing is trained, it has no weights to transform; leave that choice out",
    }

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.totals: dict[str, Tensor] = {}
        self.batches_done = 0
        self._joins: dict[str, str] = {}
        self.add_total("draws", dtype=torch.int64)

    def add_total(
        self, name: str, *shape: int, dtype: torch.dtype = torch.float64, join: Join = "sum"
    ) -> None:
        """Start a total: a sum at zero, a minimum at infinity, a maximum at minus infinity.

        Batches are joined as they come, processes once, before `summarise` reads the totals.
        """
        start = {"sum": 0.0, "min": math.inf, "max": -math.inf}[join]
        self.totals[name] = torch.full(shape, start, dtype=dtype)
        self._joins[name] = join

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return what ``count`` independent samples contribute to the totals, by name."""
        raise NotImplementedError

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return the final metrics, without their ``test/``, and record rows for figures."""
        raise NotImplementedError

    @property
    def real(self) -> torch.dtype:
        """The widest floating-point type of the device: float64, except on Apple's GPU."""
        return torch.float32 if self.device.type == "mps" else torch.float64

    def generator(self, batch_idx: int) -> torch.Generator:
        """Return the generator of one batch of this process."""
        return generator_of(self.device, self.seed, self.global_rank, batch_idx)

    def setup(self, stage: str) -> None:
        """Refuse to be trained.

        Raises:
            UserError: called by ``trainer.fit`` or ``trainer.validate``.
        """
        if stage != "test":
            raise UserError("estimation tasks have nothing to fit; use trainer.test")

    def on_test_start(self) -> None:
        """Bring the totals to the device."""
        if self.device.type == "mps":
            rank_zero_warn("this device has no float64: samples and totals are float32")
        for name, total in self.totals.items():
            dtype = self.real if total.is_floating_point() else total.dtype
            self.totals[name] = total.to(self.device, dtype)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Draw as many samples as the batch has rows, unless restored totals hold them."""
        if batch_idx < self.batches_done:
            return
        count = len(batch["index"])
        drawn = self.draw(count, self.generator(batch_idx))
        drawn["draws"] = torch.tensor(count, device=self.device)
        for name, value in drawn.items():
            self.totals[name] = JOINS[self._joins[name]](self.totals[name], value)
        self.batches_done = batch_idx + 1

    def on_test_epoch_end(self) -> None:
        """Join the processes, once, and log the estimates."""
        totals = {name: self._over_processes(name).cpu() for name in self.totals}
        self.tables.clear()
        # Lightning's log rounds to float32; the summary keeps every digit.
        self.final = {f"test/{name}": value for name, value in self.summarise(totals).items()}
        self.log_dict(self.final, sync_dist=self.trainer.world_size > 1)

    def _over_processes(self, name: str) -> Tensor:
        total = self.totals[name]
        if self.trainer.world_size > 1:
            total = total.clone()  # a second reduction of the same tensor would count twice
            operation = getattr(torch.distributed.ReduceOp, self._joins[name].upper())
            torch.distributed.all_reduce(total, op=operation)
        return total

    def get_extra_state(self) -> dict[str, Any]:
        """Put this process's totals into ``state_dict``."""
        totals = {name: total.clone() for name, total in self.totals.items()}
        return {"batches_done": self.batches_done, "totals": totals}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from totals that were saved."""
        self.batches_done = state["batches_done"]
        self.totals = {name: total.clone() for name, total in state["totals"].items()}

    # Lightning asks for these three before `setup` can say that they are never used.

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Never reached: `setup` refuses."""

    def configure_optimizers(self) -> None:
        """Never reached: `setup` refuses."""

    def train_dataloader(self) -> list[Any]:
        """Never reached: `setup` refuses."""
        return []
