"""A step's gradient from the batches that make it."""

import torch
from torch import Tensor

from suexp.method._chunked import chunks, rows_of
from suexp.method.base import Objective, Skip
from suexp.normalizer.base import at_least_float32
from suexp.task.recorded import Recorded


class Accumulation(Recorded):
    r"""$L = \sum_k \frac{n_k}{n} L_k$ of the ``batches_per_step`` batches that make a step.

    The loss $L_k$ of a batch is the mean of $n_k$ terms, rows or tokens, of all n that the step has
    in all processes: L is what one batch of all rows would have. Only the graph of one batch exists
    at a time. Lightning's own accumulation counts batches instead of steps, divides by their number
    even where an epoch had fewer, and takes batches of few tokens for as much as others.

    Attributes:
        first_row: of this process's rows of the step the first that is looked at now.
    """

    first_row: int = 0

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scalar training loss of a batch; probes call it too."""
        raise NotImplementedError

    def wrapped_objective(self) -> Objective:
        """Return the objective as methods wrap it; it raises Skip where one skips the step."""
        raise NotImplementedError

    @property
    def place(self) -> tuple[int, int]:
        """Which process this is, and of how many."""
        return (0, 1) if self._trainer is None else (self.global_rank, self.trainer.world_size)

    def asked(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a step's batch with what is asked of its rows, where that is drawn at random."""
        return batch

    def terms(self, batch: dict[str, Tensor]) -> int | Tensor:
        """Return how many terms the objective is the mean of: rows, or the tokens that count."""
        return rows_of(batch)

    def parts(self, batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """Return the batches, all of one size, that make a step's."""
        return (
            [batch]
            if self.batches_per_step == 1
            else chunks(batch, rows_of(batch) // self.batches_per_step)
        )

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor | None:
        """Return the loss, wrapped by the methods; None where one of them skips the step.

        Of the batches that make a step all but the last are differentiated here, one by one. Each
        counts by its terms, so that the loss is that of one batch, of all processes.
        """
        del batch_idx
        parts = self.parts(self.asked(batch))
        weights = self._shares(parts)
        done: list[Tensor] = []
        if len(parts) > 1:
            self.zero_grad()
        for number, (part, weight) in enumerate(zip(parts, weights, strict=True)):
            self.first_row = number * rows_of(part)
            loss = self._weighted(part, weight)
            if number + 1 == len(parts):
                break
            if loss is not None:
                self._differentiate(loss)
                done.append(loss.detach())
        self.first_row = 0
        if loss is None:
            return sum(done[1:], done[0]).requires_grad_() if done else None
        return sum(done, loss)

    def _shares(self, parts: list[dict[str, Tensor]]) -> list[Tensor | None]:
        """Return what share of a step's terms each batch has, times the number of processes."""
        _, processes = self.place
        if len(parts) * processes == 1:
            return [None]
        real = torch.float32 if self.device.type == "mps" else torch.float64
        terms = torch.stack(
            [torch.as_tensor(self.terms(part), dtype=real, device=self.device) for part in parts]
        )
        total = terms.sum()
        if processes > 1:
            torch.distributed.all_reduce(total)
        return list(terms * processes / total.clamp(min=1))

    def _weighted(self, batch: dict[str, Tensor], weight: Tensor | None) -> Tensor | None:
        try:
            loss = self.wrapped_objective()(batch)
        except Skip:
            return None
        if weight is None:
            return loss
        loss = at_least_float32(loss)
        return loss * weight.to(loss.dtype)

    def _differentiate(self, loss: Tensor) -> None:
        with torch.autocast(self.device.type, enabled=False):
            if self._trainer is None:
                self.backward(loss)
            else:  # scales it where half precision needs that
                self.trainer.strategy.backward(loss, None)

    def optimizer_zero_grad(
        self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer
    ) -> None:
        """Keep what `training_step` has summed up: it begins with nothing."""
        if self.batches_per_step == 1:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)
