"""The contract of every task whose weights follow from sums over the data."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from suexp.errors import UserError
from suexp.method.base import Method
from suexp.task.base import Task


class ClosedForm(Task):
    r"""Read the data once, $S = \sum_i s(x_i, y_i)$, and set the weights by a formula of S.

    There is no loss to descend: no optimizer, scheduler or loss is taken, and ``trainer.max_steps``
    plays no part, save that 0 reads nothing. A step is a batch that is read; every row is read,
    those of an incomplete last batch too. Everything else is as for any task: checkpoints within a
    pass, resume, validation once the weights stand, and runs that start from these weights.

    A subclass keeps sums in `sums` (plain tensors by name; empty at the start of a run), adds a
    batch's in `accumulate`, and writes the weights in `solve`, which is called after each pass
    (`pass_number`) and reads what `joined` returns: the sums of all processes. Where they do not
    simply add up it overrides `joined`. What a later pass must know it puts into `known`. Both are
    in the checkpoint, beside the parameters rather than among them, so that a run in 16 bits does
    not round them. They should be float64, which `widened` gives where the device has it.

    Reference: Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance,
    https://doi.org/10.1080/00031305.1983.10483115.

    Attributes:
        passes: how many times all rows are read.
        pass_number: the pass that is under way, from 0.
        sums: what this process has summed up so far.
        known: what all processes know from the passes before.
    """

    refuses: ClassVar[dict[str, str]] = {
        "loss": "its weights follow from a formula, it takes no loss; use loss=null",
        "optimizer": "its weights follow from a formula, it takes no optimizer; use optimizer=null",
        "scheduler": "its weights follow from a formula, it takes no scheduler; use scheduler=null",
        "trainer=fsdp": "it writes whole weights; use trainer=ddp",
    }

    reads_all_rows: ClassVar[bool] = True

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.automatic_optimization = False
        self.passes = 1
        self.pass_number = 0
        self.sums: dict[str, Tensor] = {}
        self.known: dict[str, Tensor] = {}

    def accumulate(self, batch: dict[str, Tensor]) -> None:
        """Add the sums of a batch; gradients are off and the model is in evaluation mode."""
        raise NotImplementedError

    def solve(self) -> None:
        """Write the weights, after the last batch of a pass; gradients are off.

        Raises:
            UserError: the rows do not determine them.
        """
        raise NotImplementedError

    def widened(self, x: Tensor) -> Tensor:
        """Return x in float64; Apple's GPU has none, there it comes to the CPU."""
        return x.cpu().double() if x.device.type == "mps" else x.double()

    def joined(self) -> dict[str, Tensor]:
        """Return the sums over all processes; every process must call it."""
        return {name: self.over_processes(total) for name, total in self.sums.items()}

    def over_processes(self, total: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.trainer.world_size == 1:
            return total
        total = total.to(self.device, copy=True)
        torch.distributed.all_reduce(total)
        return total

    def trainer_settings(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Return a Trainer's arguments for whole passes.

        Raises:
            UserError: another number of passes was asked for.
        """
        asked = chosen.get("max_epochs")
        if asked not in (None, self.passes):
            raise UserError(
                f"sufficient statistics need {self.passes} pass{'es' * (self.passes > 1)}, not "
                f"trainer.max_epochs={asked}; leave trainer.max_epochs out"
            )
        return {
            **chosen,
            "max_steps": -1 if chosen.get("max_steps") != 0 else 0,
            "max_epochs": self.passes,
            "check_val_every_n_epoch": self.passes,
            "val_check_interval": 1.0,
            "gradient_clip_val": None,
            "accumulate_grad_batches": 1,
        }

    def wrap(self, methods: Sequence[Method]) -> None:
        """Refuse methods: there is no training to wrap.

        Raises:
            ValueError: there are some.
        """
        if methods:
            name = type(methods[0]).__name__
            raise ValueError(f"method {name} wraps a training step, and it has none; leave it out")

    def configure_optimizers(self) -> Any:
        """There are none."""
        return []

    def on_fit_start(self) -> None:
        """Bring restored sums to the device; they are of all processes, so one keeps them."""
        device = "cpu" if self.device.type == "mps" else self.device
        restored = self.sums if self.global_rank == 0 else {}
        self.sums = {name: total.to(device) for name, total in restored.items()}
        self.known = {name: total.to(device) for name, total in self.known.items()}

    def _compute(self, batch: dict[str, Tensor]) -> None:
        """Compute a batch's sums, as in the first pass."""
        kept, self.sums, self.pass_number = self.sums, {}, 0
        self._read(batch, last=False)
        self.sums = kept

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add a batch; after the pass's last, solve.

        It is done here, not at the epoch's end, so that a checkpoint of the last batch holds the
        weights.
        """
        del batch_idx
        self.pass_number = self.current_epoch  # not at the epoch's start: a resumed one has none
        self._read(batch, last=self.trainer.is_last_batch)
        # Lightning counts an optimizer's steps, of which there are none: checkpoints, the bar and
        # the metrics count batches instead.
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()

    @torch.no_grad()
    def _read(self, batch: dict[str, Tensor], last: bool) -> None:
        was_training = self.model.training
        self.model.eval()
        self.accumulate(batch)
        if last:
            self.solve()
            if self.pass_number + 1 == self.passes:  # the weights stand
                self.sums, self.known = {}, {}
        self.model.train(was_training)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the sums of all processes; Lightning calls this in each."""
        checkpoint["sums"] = {name: total.clone() for name, total in self.joined().items()}
        checkpoint["known"] = {name: total.clone() for name, total in self.known.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from sums that were saved."""
        self.sums, self.known = dict(checkpoint["sums"]), dict(checkpoint["known"])
