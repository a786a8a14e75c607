"""Kill every run of the experiments, run each again, and compare it with an undisturbed one.

python scripts/kill_experiments.py                      all experiments, at smoke scale
python scripts/kill_experiments.py lion memm_vs_crf     these

Each distinct run is made once undisturbed, and once for every moment of `MOMENTS`: it is killed
(SIGKILL) at a point of the code, never after a time, and the same run is made again. What it leaves
must be equal, bit for bit, but for what is a time or the machine's: metrics, also by step, tables,
sample, costs, weights, the optimizer's state, and the verdicts on the experiment's claims. Of a run
that trains nothing, what two undisturbed ones do not agree in either is a time by another name.

Prints a table of what was killed and what differs; the exit code is 1 where anything does.
"""

import argparse
import hashlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from suexp.cli.rerunning import MACHINES_OWN
from suexp.config.catalogue import Catalogue
from suexp.experiment.gather import _asked, _entry
from suexp.experiment.plan import Plan, choose, plan
from suexp.job.checkpoint import Checkpoints, is_over
from suexp.job.recorder import Recorder
from suexp.job.run import execute
from suexp.judge.claims import judge
from suexp.store.folder import Run
from suexp.store.spec import RunSpec

UNDISTURBED, REPEATED = "undisturbed", "repeated"


# Moments: each is set in a process of its own, which it kills. A checkpoint is saved in the middle
# of training, whatever the time, so that what goes on has something to go on from.


def in_the_middle(steps: int) -> None:
    """One step after the checkpoint; where nothing is trained, after the first batch."""
    after(
        Checkpoints,
        "on_train_batch_end",
        lambda trainer: trainer.global_step >= min(steps // 2 + 1, steps),
    )
    after(Recorder, "on_test_batch_end", lambda _: steps == 0)


def after_the_last_validation(steps: int) -> None:
    """Before what is measured at the end of training, and before the test; else after the test."""
    after(
        Checkpoints,
        "on_validation_end",
        lambda trainer: (
            is_over(trainer) if trainer.state.fn == "fit" else trainer.global_step == steps
        ),
    )
    after(Recorder, "on_test_end", lambda _: True)


def before_the_summary(steps: int) -> None:
    """When all is measured, and summary.json is about to be written."""
    del steps
    Run.finish = lambda *_: die()  # type: ignore[method-assign]


MOMENTS: tuple[Callable[[int], None], ...] = (
    in_the_middle,
    after_the_last_validation,
    before_the_summary,
)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(owner: type, hook: str, condition: Callable[[Any], bool]) -> None:
    """Die after a hook of a class, where a condition on the Trainer holds."""
    kept = getattr(owner, hook)

    def fatal(self: Any, trainer: Any, *rest: Any, **named: Any) -> None:
        kept(self, trainer, *rest, **named)
        if condition(trainer):
            die()

    setattr(owner, hook, fatal)


def attempt(spec: RunSpec, steps: int, moment: Callable[[int], None] | None) -> int:
    """Make a run in a process of its own, which a moment kills; return its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        place = Path(spec.config["out"])
        place.mkdir(parents=True, exist_ok=True)
        said = os.open(f"{place}.said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        Checkpoints.due = lambda _, trainer: trainer.global_step == steps // 2  # type: ignore[method-assign]
        if moment is not None:
            moment(steps)
        code = execute(spec).exit_code
    finally:
        sys.stdout.flush()
        os._exit(code)


def placed(spec: RunSpec, out: Path) -> RunSpec:
    """Return a run, and its parents, with another place for what they leave."""
    own = {"out": str(out), "logger": None}
    return spec.changed(
        lambda config: {**config, **own, "threads": config["threads"] or 1}, above=True
    )


def lineage(spec: RunSpec) -> Iterator[RunSpec]:
    """Give a run's parents, the eldest first, and the run itself."""
    for origin in spec.origins.values():
        yield from lineage(origin)
    yield spec


def left(run: Run) -> dict[str, Any]:
    """Return all that a finished run has left, but times and the machine's figures."""
    summary = run.summary()
    newest = run.checkpoints()[:1]
    state = torch.load(newest[0], weights_only=True) if newest else {}
    moments = state.get("optimizer_states")
    names = ("status", "error", "metrics", "cost", "sample")
    found: dict[str, Any] = {name: getattr(summary, name, None) for name in names}
    found |= {"history": run.history(), "tables": run.tables()}
    weights = {name: digest(x) for name, x in state.get("state_dict", {}).items()}
    return without_times(found) | {"weights": weights, "optimizer": digest(moments)}


def digest(x: Any) -> str:
    """Return a hash of tensors within lists and dictionaries, and what else is there as text."""
    if isinstance(x, dict):
        return str({key: digest(value) for key, value in x.items()})
    if isinstance(x, list | tuple):
        return str([digest(value) for value in x])
    if not isinstance(x, torch.Tensor):
        return repr(x)
    content = x.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return f"{tuple(x.shape)} {hashlib.sha256(content).hexdigest()}"


def machines_own(name: str) -> bool:
    """Tell whether a metric or a column is a time or the machine's, which no run repeats."""
    return name == "ms" or MACHINES_OWN.search(name) is not None


def without_times(found: Any) -> Any:
    """Return what was found without what no run repeats."""
    if isinstance(found, dict):
        return {k: without_times(value) for k, value in found.items() if not machines_own(k)}
    return [without_times(value) for value in found] if isinstance(found, list) else found


def differences(a: Any, b: Any, name: str = "") -> list[str]:
    """Return the names of what is not equal in two such findings."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [
            line
            for key in dict.fromkeys((*a, *b))
            for line in differences(a.get(key), b.get(key), f"{name}/{key}" if name else str(key))
        ]
    return [] if json.dumps(a) == json.dumps(b) else [name]  # NaN equals itself here


@dataclass
class Outcome:
    """What became of an experiment's runs."""

    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    differing: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.runs + other.runs,
            self.kills + other.kills,
            self.differing | other.differing,
            self.seconds + other.seconds,
        )


def compare(spec: RunSpec, out: Path, outcome: Outcome) -> None:
    """Make a run undisturbed and killed at each moment, and compare them."""
    whole = placed(spec, out / UNDISTURBED)
    code = attempt(whole, 0, None)
    summary = Run(whole).summary()
    outcome.runs += 1
    if code or summary is None:
        outcome.differing[f"{spec.label} {UNDISTURBED}"] = [str(summary and summary.error)]
        return
    expected = left(Run(whole))
    for moment in MOMENTS:
        again = placed(spec, out / moment.__name__)
        code = attempt(again, summary.cost["steps"], moment)
        if code == -signal.SIGKILL:
            outcome.kills[moment.__name__] += 1
            attempt(again, summary.cost["steps"], None)
        found = differences(expected, left(Run(again)))
        if found and not summary.cost["steps"]:
            found = [name for name in found if name not in unrepeatable(spec, out)]
        if found:
            outcome.differing[f"{spec.label} ({spec.id}) {moment.__name__}"] = found


def unrepeatable(spec: RunSpec, out: Path) -> list[str]:
    """Return what differs in two undisturbed runs that train nothing, but measure times, say."""
    again = placed(spec, out / REPEATED)
    if not Run(again).finished:
        attempt(again, 0, None)
    return differences(left(Run(placed(spec, out / UNDISTURBED))), left(Run(again)))


def claims(item: Plan, out: Path, places: Sequence[str]) -> list[dict[str, Any]]:
    """Judge an experiment's claims by its runs, each in the first of some folders that has it.

    Claims that read times are left out.
    """
    assert item.header is not None
    asked = {
        name: claim
        for name, claim in (item.header.get("claims") or {}).items()
        if not any(map(machines_own, re.split(r"[^\w/]+", str(claim["test"]))))
    }
    entries = []
    for planned in item.runs():
        run = Run(planned.run.spec)
        folders = [out / place / "runs" / run.id for place in places]
        run.folder = next((folder for folder in folders if folder.exists()), folders[-1])
        made: Any = SimpleNamespace(
            run=run, arm=planned.arm, seed=planned.seed, overrides=planned.overrides
        )
        entries.append(_entry(made, *_asked(asked)))
    return [claim | {"needs": None} for claim in judge(asked, entries, item.scale)]  # of times


def metric(item: Plan, out: Path, run: Run) -> float | None:
    assert item.header is not None
    run.folder = out / "runs" / run.id
    summary = run.summary()
    value = summary.metrics.get(item.header["tune"]["metric"]) if summary else None
    return value if isinstance(value, (int, float)) else None


def experiment(name: str, scale: str, out: Path, most: int) -> Outcome:
    """Compare every run of an experiment, and its claims."""
    began = time.perf_counter()
    arguments = [f"experiment={name}", f"scale={scale}", "trainer.enable_progress_bar=false"]
    (item,) = plan(arguments)
    outcome, seen = Outcome(), set()

    def all_of(planned: Sequence[Any]) -> None:
        for one in planned:
            for spec in lineage(one.run.spec):
                if spec.id not in seen and len(seen) < most:
                    seen.add(spec.id)
                    compare(spec, out, outcome)

    tuning = [one for grid in item.tuning().values() for one in grid.values()]
    all_of(tuning)
    if tuning:
        item.chosen.update(
            choose(item, lambda one: metric(item, out / UNDISTURBED, Run(one.run.spec)))
        )
    all_of(item.runs())
    if len(seen) < most:
        expected = claims(item, out, [UNDISTURBED])
        repeated = claims(item, out, [REPEATED, UNDISTURBED])
        for moment in MOMENTS:
            found = claims(item, out, [moment.__name__])
            wrong = [
                a["id"]
                for a, b, c in zip(expected, repeated, found, strict=True)
                if differences(a, c) and not differences(a, b)
            ]
            if wrong:
                outcome.differing[f"claims {moment.__name__}"] = wrong
    outcome.seconds = time.perf_counter() - began
    return outcome


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiments", nargs="*", help="none: all")
    parser.add_argument("--scale", default="smoke")
    parser.add_argument("--most", type=int, default=10**6, help="distinct runs of each at most")
    parser.add_argument("--out", type=Path, help="keep the runs here")
    options = parser.parse_args(arguments)
    columns = [moment.__name__.replace("_", " ") for moment in MOMENTS]
    print(f"| experiment | runs | killed {' | '.join(columns)} | differ | seconds |")
    print("|---|---|" + "---|" * len(MOMENTS) + "---|---|", flush=True)
    total = Outcome()
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.experiments or sorted(Catalogue().groups["experiment"]):
            out = (options.out or Path(temporary)).absolute() / name
            outcome = experiment(name, options.scale, out, options.most)
            row(name, outcome)
            for key, names in outcome.differing.items():
                print(f"{name}, {key}: {', '.join(names[:12])}", file=sys.stderr, flush=True)
            total += outcome
    row("all", total)
    return 1 if total.differing else 0


def row(name: str, outcome: Outcome) -> None:
    kills = " | ".join(str(outcome.kills[moment.__name__]) for moment in MOMENTS)
    cells = f"| {name} | {outcome.runs} | {kills} | {len(outcome.differing)} | "
    print(f"{cells}{outcome.seconds:.0f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
