"""A built run's training, from its last checkpoint, and what came of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers.logger import Logger

from suexp.code.instantiate import instantiate
from suexp.job import cost
from suexp.job.batches import Loading
from suexp.job.checkpoint import Checkpoints, Position, damage
from suexp.job.divergence import DIVERGED, Diverged, loss_is_finite, record
from suexp.job.process import leads
from suexp.job.pruning import Pruning
from suexp.job.recorder import Recorder
from suexp.logger.jsonl import Jsonl
from suexp.store.folder import Run
from suexp.store.summary import Summary
from suexp.task.base import Task
from suexp.task.recorded import Recorded

Note = Callable[[str], None]
Bar = Callable[[], Callback]


def train(
    run: Run, task: Recorded, loading: Loading, views: list[Logger], note: Note, bar: Bar | None
) -> pl.Trainer:
    """Train, or estimate, and save; return the trainer.

    Args:
        run: its folder and settings.
        task: built, with the weights that it starts from where no checkpoint is there.
        loading: the batches.
        views: loggers beside the run's own record.
        note: says something to the user.
        bar: makes what shows the training's progress; None: nothing does.

    Raises:
        NotFinite: the loss is no number, and that is no result.
        Interrupted: the run was asked to stop.
    """
    allow = run.config["allow_targets"]
    settings = {"check_val_every_n_epoch": None, **run.config["trainer"]}
    settings = task.trainer_settings(settings)
    asked = task.batches_per_step
    task.batches_per_step = loading.sampler.join(asked)
    if task.batches_per_step < asked:
        note(f"run {run.id} has {task.batches_per_step} batches a step: an epoch has not {asked}")
    checkpoints = Checkpoints(run.folder, settings.pop("checkpoint_seconds"))
    val_at_start = settings.pop("val_at_start", False)
    records = settings.pop("on_divergence", "fail") == "record"
    callbacks = [instantiate(node, allow) for node in (run.config.get("callbacks") or {}).values()]
    asking = [task, *getattr(task, "methods", ()), *callbacks]
    loading.numbered = any("index" in getattr(part, "asks", ()) for part in asking)
    shown = settings["enable_progress_bar"] = settings["enable_progress_bar"] and bar is not None
    bars = [bar()] if shown and bar is not None else []
    study = run.config.get("study") or {}
    pruning = [Pruning(run, checkpoints, note)] if study.get("name") else []
    recorder = Recorder(settings["log_every_n_steps"], records)
    trainer: pl.Trainer = instantiate(
        settings,
        allow,
        logger=[Jsonl(run.folder), *views],
        callbacks=[
            Position(loading.sampler),
            recorder,
            *callbacks,
            *bars,
            *pruning,
            checkpoints,
        ],
        default_root_dir=str(run.folder),
        num_sanity_val_steps=0,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    start = None
    if isinstance(task, Task) and trainer.max_steps != 0:
        start = _last_good(run, note)
    if start is None and leads():
        run.begin_anew()
    with checkpoints.stop_on_signals():
        if not isinstance(task, Task):
            trainer.test(task, datamodule=loading, verbose=False)
            return trainer
        if start is not None:
            note(f"run {run.id} goes on from {start.stem}")
        try:
            _fit(run, task, trainer, loading, checkpoints, start, val_at_start)
            if records:
                task.final[DIVERGED] = 0.0
        except Diverged as found:
            record(run, task, trainer, loading, found, note)
        except Exception:  # of a measurement that takes no NaN
            if not records or trainer.world_size > 1 or loss_is_finite(task, loading):
                raise
            late = recorder.diverged(trainer, trainer.global_step)
            record(run, task, trainer, loading, late, note)
    return trainer


def _last_good(run: Run, note: Note) -> Path | None:
    """Return the newest checkpoint that is whole; damaged ones would pass for newer, and go."""
    for path in run.checkpoints():
        found = damage(path)
        if found is None:
            return path
        note(f"{path} is damaged ({found}); the run goes on from before it")
        path.unlink(missing_ok=True)
    return None


def _fit(
    run: Run,
    task: Task,
    trainer: pl.Trainer,
    loading: Loading,
    checkpoints: Checkpoints,
    start: Path | None,
    val_at_start: bool,
) -> None:
    """Train, validate where the last step was not, and test."""
    if trainer.max_steps != 0:
        if start is None and val_at_start and "validation" in loading.splits:
            # The metrics that it starts anew go on in training, which it must not change.
            trainer.validate_loop.inference_mode = False
            with torch.random.fork_rng():
                trainer.validate(task, datamodule=loading, verbose=False)
        trainer.fit(task, datamodule=loading, ckpt_path=start, weights_only=True)
    else:
        loading.trainer = trainer
        trainer.strategy.connect(task)
        checkpoints.save(trainer)
    history = run.history()
    last = max((line["step"] for line in history if "val/loss" in line), default=-1)
    last = trainer.strategy.broadcast(last)  # the others may read before it is all written
    if "validation" in loading.splits and last < trainer.global_step:
        trainer.validate(task, datamodule=loading, verbose=False)
    if "test" in loading.splits:
        trainer.test(task, datamodule=loading, verbose=False)


def outcome(
    run: Run, task: Recorded, trainer: pl.Trainer, loading: Loading, summary: Summary
) -> None:
    """Record the final metrics, costs, sample and tables of a run that has come to its end."""
    metrics = last(run) | task.final
    recorder = next(c for c in trainer.callbacks if isinstance(c, Recorder))  # type: ignore[attr-defined]
    costs: dict[str, Any] = {"steps": trainer.global_step}
    if isinstance(task, Task):
        costs["train_seconds"] = round(recorder.train_seconds, 6)
    if isinstance(task, Task):
        if trainer.optimizers:
            metrics["optimizer/state_bytes"] = sum(map(cost.state_bytes, trainer.optimizers))
        costs |= cost.of_model(task, loading, trainer)
        costs["flops"] = costs["steps"] * costs["flops_per_step"]
        for origin in run.spec.ancestors().values():
            if before := Run(origin).summary():
                costs["flops"] += before.cost["steps"] * before.cost["flops_per_step"]
        if not task.final.get(DIVERGED):
            summary.sample = task.finish()
    rows = [
        {"table": table, **row} for table, table_rows in task.tables.items() for row in table_rows
    ]
    if leads():
        run.write_table(rows)
    summary.metrics, summary.cost = metrics, costs
    summary.first_step_at = recorder.first_step_at


def last(run: Run) -> dict[str, float]:
    """Return each metric's last value."""
    metrics: dict[str, float] = {}
    for line in run.history():
        metrics.update({name: value for name, value in line.items() if name != "step"})
    return metrics
