"""One run, from its resolved config to its summary."""

import gc
import os
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers.logger import Logger

from suexp.code.instantiate import instantiate
from suexp.code.trust import check_targets
from suexp.errors import Unwritable, UserError, one_line, writing
from suexp.job import cost
from suexp.job.batches import Loading
from suexp.job.build import begin, build, data_of, trained
from suexp.job.checkpoint import Checkpoints, Interrupted, Position, damage
from suexp.job.divergence import DIVERGED, Diverged, loss_is_finite, record
from suexp.job.process import prepare
from suexp.job.pruning import Pruned, Pruning
from suexp.job.recorder import NotFinite, Recorder
from suexp.logger._run import RunLogger
from suexp.logger.jsonl import Jsonl
from suexp.machine import TOO_MUCH, check_devices, out_of_memory, within_memory
from suexp.redaction import redacted
from suexp.store.folder import Run
from suexp.store.provenance import provenance
from suexp.store.spec import RunSpec
from suexp.store.summary import Status, Summary
from suexp.task.base import Task
from suexp.task.recorded import Recorded

Note = Callable[[str], None]
Bar = Callable[[], Callback]


def execute(
    spec: RunSpec, note: Note = print, bar: Bar | None = None, *, weights: bool = False
) -> Summary:
    """Run, resume or find a run; return its summary.

    A run that fails returns a summary with status ``failed`` and the error.

    Args:
        spec: the run.
        note: says something to the user.
        bar: makes what shows the training's progress, where the config wants it shown.
        weights: whether a finished run's last checkpoint is wanted, too; it is made again where it
            is lost or damaged.

    Raises:
        UserError: before anything is run: the config cannot work.
        Unwritable: the disk takes no more; what was saved before is there to go on from.
        Interrupted: the run was asked to stop; it has a checkpoint.
    """
    check_targets(spec.config, spec.allow)
    check_devices(spec.config["trainer"])
    run = Run(spec)
    if not _leads():  # a helper of the process that holds the run
        return _run(run, run.threads(), lambda _: None, bar)
    with run.lock(note):
        if not spec.rerun and _complete(run, weights, note):
            if not weights:  # of a run that another one starts from nobody asked
                note(run.already)
            summary = run.summary()
            assert summary is not None
            return summary
        if spec.rerun:
            run.clear()
        threads = run.threads() or spec.config["threads"] or torch.get_num_threads()
        if not all(Run(origin).finished for origin in spec.origins.values()):
            why = _refusal(spec)
            if why is not None:
                return _refused(run, threads, why)
        for name, origin in spec.origins.items():
            summary = execute(origin, note, bar, weights=True)
            if not summary.finished:
                raise UserError(f"the {name} run {summary.id} failed: {summary.error}")
        run.forget_end()
        run.start(threads)
        return _run(run, threads, note, bar)


def _refusal(spec: RunSpec) -> str | None:
    """Read the rows and build the task; return what speaks against it, before others run for it."""
    prepare()
    try:
        with within_memory():
            if not instantiate(spec.config["data"], spec.allow).origins():
                data = data_of(spec.config)
                data.splits()
                build(spec.config, data)
    except UserError as error:
        return str(error)
    except Exception:  # what nobody foresaw the run itself reports
        pass
    return None


def _refused(run: Run, threads: int, why: str) -> Summary:
    """Return the summary of a run that failed before anything was run."""
    run.forget_end()
    run.start(threads)
    seed = run.config["seed"]
    summary = Summary(run.folder, run.id, error=why, mistake=True, seed=seed, **provenance())
    _finish(run, summary)
    return summary


def _leads() -> bool:
    """Tell whether this process writes the run's files: of a run's processes, the first does."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0


def _complete(run: Run, weights: bool, note: Note) -> bool:
    """Tell whether nothing is left to do; what is damaged is named, and done again."""
    summary = run.summary()
    if summary is None or not summary.finished:
        if summary is None and (run.folder / "summary.json").exists():
            note(f"{run.folder / 'summary.json'} is damaged; the run makes it again")
        return False
    if not run.finished:
        note(f"the files in {run.folder} are not as the run left them; it makes them again")
        return False
    if not weights or summary.diverged_at is not None:
        return True
    last = run.folder / "checkpoints" / f"step={summary.cost['steps']}.ckpt"
    if not last.exists():
        note(f"{last} is lost; the run makes it again")
    return damage(last) is None


def _last_good(run: Run, note: Note) -> Path | None:
    """Return the newest checkpoint that is whole; damaged ones would pass for newer, and go."""
    for path in run.checkpoints():
        found = damage(path)
        if found is None:
            return path
        note(f"{path} is damaged ({found}); the run goes on from before it")
        path.unlink(missing_ok=True)
    return None


@within_memory()
def _run(run: Run, threads: int | None, note: Note, bar: Bar | None) -> Summary:
    """Train, or estimate, and write the summary; the lock is held."""
    prepare()
    origins = {name: trained(Run(origin)) for name, origin in run.spec.origins.items()}
    config = run.config
    began, started = time.perf_counter(), datetime.now(UTC)
    threads_before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    memory = cost.Memory()
    flags = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    pl.seed_everything(config["seed"], verbose=False)
    summary = Summary(
        run.folder,
        run.id,
        started=started.isoformat(timespec="seconds"),
        seed=config["seed"],
        threads=torch.get_num_threads(),
        **provenance(),
    )
    views: list[Logger] = []
    try:
        data = data_of(config, origins)
        summary.fingerprint = data.fingerprint()
        loading = Loading(data, config["seed"], config.get("tune_fraction", 0.0))
        task = build(config, data)
        summary.rows = {split: len(rows) for split, rows in loading.splits.items()}
        loading.sampler.whole = task.reads_all_rows
        if isinstance(task, Task):
            begin(task, config, origins)
        with writing(run.folder, reads=True):  # by loggers of others
            views += _views(run)
            trainer = _train(run, task, loading, views, note, bar)
        _outcome(run, task, trainer, loading, summary)
        summary.status = Status.FINISHED
    except (Interrupted, KeyboardInterrupt):
        summary.status, summary.error = Status.INTERRUPTED, "stopped by a signal"
        raise
    except Pruned as stop:
        summary.status, summary.error = Status.PRUNED, str(stop)
        summary.metrics = _last(run)
    except UserError as error:
        summary.error, summary.mistake = str(error), not isinstance(error, NotFinite)
        if not _leads():  # whose summary nobody reads
            print(f"process {os.environ['LOCAL_RANK']}: {error}", file=sys.stderr)
        if isinstance(error, Unwritable):
            raise
    except Exception as error:
        line = str(error).splitlines()[0] if str(error) else ""
        if "does not have a deterministic implementation" in line:
            operation = line.split(" does not", 1)[0]
            summary.error = f"{operation} has no deterministic form; set trainer.deterministic=warn"
            summary.mistake = True
        elif out_of_memory(error):
            summary.error, summary.mistake = TOO_MUCH, True
        elif isinstance(error, MisconfigurationException):
            summary.error, summary.mistake = one_line(redacted(str(error))), True
        else:
            print(redacted(traceback.format_exc()), end="", file=sys.stderr)
            summary.error = one_line(redacted(f"{type(error).__name__}: {line}"))
    finally:
        summary.cost |= {
            "wall_seconds": round(time.perf_counter() - began, 3),
            "peak_memory_bytes": memory.peak(),
        }
        if _leads():
            _finish(run, summary)
        for view in views:
            if isinstance(view, RunLogger):
                view.end(summary)
        torch.use_deterministic_algorithms(flags, warn_only=warns)  # as the caller had it
        torch.set_num_threads(threads_before)
        gc.collect()
    return summary


def _finish(run: Run, summary: Summary) -> None:
    """Write the summary; a run whose summary cannot be written has failed."""
    try:
        run.finish(summary)
    except UserError as error:
        if summary.finished:
            summary.status, summary.error, summary.mistake = Status.FAILED, str(error), True
        if isinstance(error, Unwritable):
            raise


def _views(run: Run) -> list[Logger]:
    """Return the loggers that show a run elsewhere; its own record is not among them."""
    labels = dict(run.config["run"])
    labels["name"] = f"{labels['arm']}-{run.config['seed']}" if labels["arm"] else run.id
    own = {"folder": run.folder, "id": run.id, "config": run.config, **labels}
    nodes = (run.config.get("logger") or {}).values()
    return [instantiate(node, run.config["allow_targets"], **own) for node in nodes]


def _train(
    run: Run, task: Recorded, loading: Loading, views: list[Logger], note: Note, bar: Bar | None
) -> pl.Trainer:
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
    if start is None and _leads():
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


def _outcome(
    run: Run, task: Recorded, trainer: pl.Trainer, loading: Loading, summary: Summary
) -> None:
    """Record the final metrics, costs, sample and tables of a run that has come to its end."""
    metrics = _last(run) | task.final
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
    if _leads():
        run.write_table(rows)
    summary.metrics, summary.cost = metrics, costs
    summary.first_step_at = recorder.first_step_at


def _last(run: Run) -> dict[str, float]:
    """Return each metric's last value."""
    metrics: dict[str, float] = {}
    for line in run.history():
        metrics.update({name: value for name, value in line.items() if name != "step"})
    return metrics
