"""The contract of every task that trains nothing: it draws samples and sums what it sees."""

import hashlib
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from suexp.component import Component
from suexp.errors import UserError


class EstimationTask(pl.LightningModule, Component):
    r"""Estimate expectations by sums over independent draws: $\hat\mu = \sum_i f(X_i) / N$.

    It runs through `Trainer.test` alone, so that devices, several processes and logging come from
    Lightning. A batch only says how many samples to draw (the length of its ``index``). The
    generator of a batch is seeded by (seed, global rank, batch index): a batch's samples do not
    depend on the batches before it, and a sum that was restored goes on where it stopped.

    A subclass names its sums with `add_sum`, adds to them in `draw`, and turns them into metrics in
    `summarise`. The sums live beside the parameters rather than among them: a run in 16 bits must
    not round its counts.

    Reference: Metropolis and Ulam, The Monte Carlo Method, https://doi.org/10.2307/2280232.

    Attributes:
        tables: long-form rows by table name (see `record_rows`).
        final: the estimates with all their digits, for the run's summary.
        sample: nothing to show; estimation generates no text.
        sums: the running totals of this process.
    """

    needs: ClassVar[dict[str, str]] = {
        "counter": "it draws its own samples and only counts them; use data=counter"
    }
    refuses: ClassVar[dict[str, str]] = {
        "model": "nothing is trained, it takes no model; use model=null",
        "attention": "nothing is trained, it takes no attention; use attention=null",
        "position": "nothing is trained, it takes no position; use position=null",
        "mask": "nothing is trained, it takes no mask; use mask=null",
        "norm": "nothing is trained, it takes no norm; use norm=null",
        "init": "nothing is trained, it initialises nothing; use init=null",
        "loss": "nothing is trained, it takes no loss; use loss=null",
        "optimizer": "nothing is trained, it takes no optimizer; use optimizer=null",
        "scheduler": "nothing is trained, it takes no scheduler; use scheduler=null",
        "transform": "nothing is trained, there are no weights to transform; use transform=null",
    }

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.final: dict[str, float] = {}
        self.sample: str | None = None
        self.sums: dict[str, Tensor] = {}
        self.batches_done = 0
        self.add_sum("draws", dtype=torch.int64)

    def add_sum(self, name: str, *shape: int, dtype: torch.dtype = torch.float64) -> None:
        """Start a total at zero; it is summed over processes before `summarise` reads it."""
        self.sums[name] = torch.zeros(shape, dtype=dtype)

    def record_rows(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Keep rows for the run's table.jsonl: plain numbers, strings and booleans only."""
        self.tables.setdefault(table, []).extend(rows)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return what ``count`` independent samples add to the sums, by name."""
        raise NotImplementedError

    def summarise(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """Return the final metrics, without their ``test/``, and record rows for figures."""
        raise NotImplementedError

    @property
    def real(self) -> torch.dtype:
        """The widest floating-point type of the device: float64, except on Apple's GPU."""
        return torch.float32 if self.device.type == "mps" else torch.float64

    def generator(self, batch_idx: int) -> torch.Generator:
        """Return the generator of one batch of this process."""
        key = f"{self.seed}/{self.global_rank}/{batch_idx}".encode()
        seed = int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1
        return torch.Generator(self.device).manual_seed(seed)

    def setup(self, stage: str) -> None:
        """Refuse to be trained.

        Raises:
            UserError: called by ``trainer.fit`` or ``trainer.validate``.
        """
        if stage != "test":
            raise UserError("estimation tasks have nothing to fit; use trainer.test")

    def on_test_start(self) -> None:
        """Bring the sums to the device."""
        if self.device.type == "mps":
            rank_zero_warn("this device has no float64: samples and sums are float32")
        for name, total in self.sums.items():
            dtype = self.real if total.is_floating_point() else total.dtype
            self.sums[name] = total.to(self.device, dtype)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Draw as many samples as the batch has rows, unless a restored sum holds them already."""
        if batch_idx < self.batches_done:
            return
        count = len(batch["index"])
        self.sums["draws"] += count
        for name, value in self.draw(count, self.generator(batch_idx)).items():
            self.sums[name] += value
        self.batches_done = batch_idx + 1

    def on_test_epoch_end(self) -> None:
        """Sum over processes, once, and log the estimates."""
        totals = {name: self._over_processes(total).cpu() for name, total in self.sums.items()}
        self.tables.clear()
        # Lightning's log rounds to float32; the summary keeps every digit.
        self.final = {f"test/{name}": value for name, value in self.summarise(totals).items()}
        self.log_dict(self.final, sync_dist=self.trainer.world_size > 1)

    def _over_processes(self, total: Tensor) -> Tensor:
        if self.trainer.world_size > 1:
            total = total.clone()  # a second reduction of the same tensor would count twice
            torch.distributed.all_reduce(total)
        return total

    def get_extra_state(self) -> dict[str, Any]:
        """Put this process's sums into ``state_dict``."""
        sums = {name: total.clone() for name, total in self.sums.items()}
        return {"batches_done": self.batches_done, "sums": sums}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from sums that were saved."""
        self.batches_done = state["batches_done"]
        self.sums = {name: total.clone() for name, total in state["sums"].items()}

    # Lightning asks for these three before `setup` can say that they are never used.

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Never reached: `setup` refuses."""

    def configure_optimizers(self) -> None:
        """Never reached: `setup` refuses."""

    def train_dataloader(self) -> list[Any]:
        """Never reached: `setup` refuses."""
        return []
