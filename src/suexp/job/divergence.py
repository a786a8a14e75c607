"""A run that diverges, as a result: what it counts for from there to its end."""

import itertools
import math
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from suexp.job.batches import Loading
from suexp.store.folder import Run
from suexp.task.base import Task

SPLITS = {"validation": "val", "test": "test"}
DIVERGED, AT = "train/diverged", "train/diverged_at"


class Diverged(Exception):
    """The loss, or a weight, is NaN or infinite (trainer.on_divergence=record); all agree on it.

    Attributes:
        step: the first of which that is true.
        steps: how many the run was to have.
        values: what its training steps return by name.
    """

    def __init__(self, step: int, steps: int, values: Collection[str]) -> None:
        super().__init__(f"diverged at step {step}")
        self.step, self.steps, self.values = step, steps, list(values)


def all_finite(module: nn.Module) -> bool:
    """Tell whether no weight is NaN or infinite; of sharded ones, whether none is here."""
    weights = (p.detach() for p in module.parameters() if p.is_floating_point())
    local = (w.to_local() if hasattr(w, "to_local") else w for w in weights)
    found = [w.isfinite().all() for w in local]
    return not found or bool(torch.stack([item.to(found[0].device) for item in found]).all())


def loss_is_finite(task: Task, loading: Loading) -> bool:
    """Tell whether the loss of a batch is a number; a step that cannot be made tells nothing."""
    try:
        batch = task.received(next(iter(loading.train_dataloader())))
        with torch.random.fork_rng(), torch.enable_grad():
            loss = task.training_step(batch, 0)
    except Exception:
        return True
    return loss is None or bool(torch.isfinite(loss).all())


def record(
    run: Run,
    task: Task,
    trainer: pl.Trainer,
    loading: Loading,
    found: Diverged,
    note: Callable[[str], None],
) -> None:
    """Log the worst values of all figures, from the step at which a run diverged to its last.

    They stand where the run would have logged, so that curves and what is read along a training
    know of them. Figures that have no worst value, a temperature say, are NaN. Tables tell of
    weights that are gone, and are left out.
    """
    note(f"run {run.id} {found}")
    at_end = {
        name: value
        for split, short in SPLITS.items()
        if split in loading.splits
        for name, value in task.worst(short).items()
    }
    for name in {*task.final, *(name for line in run.history() for name in line)}:
        if name.startswith(("val/", "test/")):
            at_end.setdefault(name, math.nan)
    validated = {name: value for name, value in at_end.items() if name.startswith("val/")}
    trained = {f"train/{name}": math.inf for name in found.values}
    for step, figures in _rest(trainer, found, validated, at_end):
        for logger in trainer.loggers:
            logger.log_metrics({**trained, **figures}, step)
    for logger in trainer.loggers:
        logger.finalize("success")
    task.final = {name: at_end.get(name, value) for name, value in task.final.items()}
    task.final |= {DIVERGED: 1.0, AT: float(found.step)}
    task.tables.clear()
    _tame(task)


def _rest(
    trainer: pl.Trainer, found: Diverged, validated: dict[str, float], at_end: dict[str, float]
) -> Iterator[tuple[int, dict[str, float]]]:
    """Give the steps from there on at which something is logged, and the figures of each."""
    every: Any = trainer.val_check_interval
    if trainer.check_val_every_n_epoch is not None:
        every = found.steps
    for step in range(found.step, found.steps + 1):
        if step == found.steps:
            yield step, at_end
        elif step == found.step or step % every == 0:
            yield step, validated
        elif step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            yield step, {}


@torch.no_grad()
def _tame(task: Task) -> None:
    """Make the weights ordinary numbers: operations are counted yet, and no number changes them."""
    for tensor in itertools.chain(task.parameters(), task.buffers()):
        if tensor.is_floating_point():
            tensor.nan_to_num_(0.0, 1.0, -1.0).clamp_(-1, 1)
