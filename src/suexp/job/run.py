"""One run, from its resolved config to its summary."""

import gc
import os
import sys
import time
import traceback
from datetime import UTC, datetime

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers.logger import Logger

from suexp.code.instantiate import instantiate
from suexp.code.trust import check_targets
from suexp.errors import Unwritable, UserError, one_line, writing
from suexp.job import cost
from suexp.job.batches import Loading
from suexp.job.build import begin, build, data_of, trained
from suexp.job.checkpoint import Interrupted, damage
from suexp.job.process import leads, prepare
from suexp.job.pruning import Pruned
from suexp.job.recorder import NotFinite
from suexp.job.train import Bar, Note, last, outcome, train
from suexp.logger._run import RunLogger
from suexp.machine import TOO_MUCH, check_devices, out_of_memory, within_memory
from suexp.redaction import redacted
from suexp.store.folder import Run
from suexp.store.provenance import provenance
from suexp.store.spec import RunSpec
from suexp.store.summary import Status, Summary
from suexp.task.base import Task


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
    if not leads():  # a helper of the process that holds the run
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
    except Exception:
        return None  # what nobody foresaw the run itself reports
    return None


def _refused(run: Run, threads: int, why: str) -> Summary:
    """Return the summary of a run that failed before anything was run."""
    run.forget_end()
    run.start(threads)
    seed = run.config["seed"]
    summary = Summary(run.folder, run.id, error=why, mistake=True, seed=seed, **provenance())
    _finish(run, summary)
    return summary


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
            trainer = train(run, task, loading, views, note, bar)
        outcome(run, task, trainer, loading, summary)
        summary.status = Status.FINISHED
    except (Interrupted, KeyboardInterrupt):
        summary.status, summary.error = Status.INTERRUPTED, "stopped by a signal"
        raise
    except Pruned as stop:
        summary.status, summary.error = Status.PRUNED, str(stop)
        summary.metrics = last(run)
    except UserError as error:
        summary.error, summary.mistake = str(error), not isinstance(error, NotFinite)
        if not leads():  # whose summary nobody reads
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
        if leads():
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
