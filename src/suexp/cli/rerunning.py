"""``suexp rerun RUN``: run it again from its folder, and compare what comes out."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suexp.cli.terminal import parser, show_rows, show_text
from suexp.code.trust import allowed, check_targets, trusting
from suexp.config.check import check_secrets
from suexp.errors import UserError
from suexp.report.wording import number
from suexp.store.identity import Identity
from suexp.store.query import Stored, named
from suexp.store.spec import RunSpec
from suexp.store.summary import Summary

MACHINES_OWN = re.compile(
    "second|memory|_time$|_ms$"
)  # metrics of the machine's, which no run repeats


def run(argv: Sequence[str]) -> int:
    """Repeat a run and return 0 if all its metrics come out the same, else 1.

    Raises:
        UserError: no such run, several, or one that never finished.
    """
    arguments = parser("rerun", "Run a run again from its folder, and compare all metrics.")
    arguments.add_argument("run", help="a run's id, its beginning, or its folder")
    arguments.add_argument(
        "allow",
        nargs="?",
        metavar="allow_targets=[NAMES]",
        help="packages beside suexp whose code you trust; what the folder says does not count",
    )
    arguments.add_argument("--out", type=Path, default=Path("outputs"), help="default: outputs")
    arguments.add_argument("--into", type=Path, help="where to; default: OUT/reruns")
    arguments.add_argument(
        "--tolerance", type=float, default=0.0, help="greatest relative difference; default: 0"
    )
    given = arguments.parse_args(argv)
    allow = allowing(given.allow)
    old = find(given.run, given.out)
    into = given.into or old.folder.parents[:2][-1] / "reruns"
    check_targets(old.config, allow)
    check_secrets(old.config, f"rerun {old.id}: ")
    from suexp.job.run import execute
    from suexp.launch.progress import Progress
    from suexp.store.provenance import provenance

    before, finished = identity(old), old.summary
    assert finished is not None
    own = {"out": str(into.absolute()), "rerun": True, "logger": None, "study": None}
    # Equal bits need equal threads; what began from another run had that run's, mostly.
    own["threads"] = old.begun["threads"]
    was = RunSpec(trusting(old.config, allow), before)
    spec = RunSpec.of(was.changed(lambda config: {**config, **own}, above=True).config)
    for line in (*before.changes(spec.identity), *changes(finished, provenance())):
        show_text(line)
    new = execute(spec, bar=Progress)
    if not new.finished:
        raise UserError(f"rerun {old.id}: it failed this time: {new.error}")
    show_text(f"run {new.id} in {into / 'runs' / new.id}")
    if new.id != old.id:
        show_text(f"it is not what it was: its id was {old.id}")
    return report(compare(old.entry.metrics, new.metrics), given.tolerance)


def allowing(word: str | None) -> list[str]:
    """Return the names of ``allow_targets=[a,b]``, as on the command line of a run.

    Raises:
        UserError: it is another word.
    """
    key, equals, value = (word or "allow_targets=[]").partition("=")
    if key != "allow_targets" or not equals:
        raise UserError(f"rerun {word}: only allow_targets=[NAMES] can be said of a run once more")
    return allowed([name.strip() for name in value.strip("[]").split(",") if name.strip()])


def find(name: str, out: Path) -> Stored:
    """Return the one finished run that a name means.

    Raises:
        UserError: there is none, or more than one, or it never finished.
    """
    found = named("rerun", name, out)
    if found.status != "finished":
        raise UserError(f"rerun {name}: it is {found.status}; only a finished run compares")
    return found


def identity(run: Stored) -> Identity:
    """Return what a run depended on.

    Raises:
        UserError: its files do not say so any more, or say it of another run.
    """
    if run.identity is None:
        raise UserError(
            f"rerun {run.id}: config.yaml or begun.json in {run.folder} is not as the run left it; "
            "the command that made the run writes both again"
        )
    return run.identity


def changes(old: Summary, now: Mapping[str, Any]) -> list[str]:
    """Return what else is not as it was: versions, commit, machine."""
    before, after = old.versions, now["versions"]
    lines = [
        f"{name} was {before.get(name)}, is {after.get(name)}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    if old.commit != now["commit"]:
        lines.append(f"the commit was {_short(old.commit)}, is {_short(now['commit'])}")
    for name, dirty in (("then", old.dirty), ("now", now["dirty"])):
        if dirty:
            lines.append(f"suexp has changes that are in no commit ({name})")
    if old.machine != now["machine"]:
        lines.append("it is another machine")
    return lines


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any, float]]:
    """Return (metric, then, now, relative difference), the machine's own left out."""
    rows = []
    for name in dict.fromkeys((*old, *new)):
        if not MACHINES_OWN.search(name):
            then, now = old.get(name), new.get(name)
            rows.append((name, then, now, difference(then, now)))
    return rows


def difference(then: Any, now: Any) -> float:
    """Return $|a - b| / max(|a|, |b|)$; infinite where only one is there or finite."""
    if then == now or json.dumps(then) == json.dumps(now):  # NaN equals itself here
        return 0.0
    numbers = all(isinstance(x, (int, float)) and math.isfinite(x) for x in (then, now))
    return abs(then - now) / max(abs(then), abs(now)) if numbers else math.inf


def report(rows: Sequence[tuple[str, Any, Any, float]], tolerance: float) -> int:
    """Print what differs; return 0 where nothing does by more than the tolerance."""
    differing = [row for row in rows if row[3] > 0]
    if not differing:
        show_text(f"all {len(rows)} metrics are equal, bit for bit")
        return 0
    cells = [(name, number(a, 9), number(b, 9), f"{gap:.2g}") for name, a, b, gap in differing]
    show_rows(("metric", "then", "now", "relative difference"), cells)
    worst = max(gap for *_, gap in differing)
    show_text(f"{len(differing)} of {len(rows)} metrics differ, by {worst:.2g} at most")
    return 0 if worst <= tolerance else 1


def _short(commit: str | None) -> str:
    return "unknown" if commit is None else commit[:12]
