"""``suexp check OVERRIDES``: compose and check everything that would run, and train nothing."""

from collections.abc import Sequence
from typing import Any

from suexp.cli import argv as command_line
from suexp.cli.terminal import counted, show_rows, show_text
from suexp.config.catalogue import Catalogue
from suexp.errors import UserError

USAGE = """usage: suexp check [-m] [--config-dir DIR] [OVERRIDES ...]

Compose and check everything that suexp OVERRIDES would run; nothing is trained."""


def run(argv: Sequence[str]) -> int:
    """Print what would run, or raise what is wrong with it.

    Raises:
        UserError: the first mistake found.
    """
    line = command_line.split(argv)
    if "--help" in line.flags:
        print(USAGE)
        return 0
    unused = {*line.flags} - {"--multirun", "--config-dir"}
    if unused:
        raise UserError(f"check {min(unused)}: only -m and --config-dir mean something here")
    command_line.precheck(line, Catalogue(line.config_dir))
    from suexp.config.compose import _loader
    from suexp.experiment.plan import plan

    with _loader(line.config_dir):  # one start of Hydra for all runs
        for item in plan(line.overrides):
            show_plan(item)
    show_text("Everything composes and fits together; nothing was run.", "dim")
    return 0


def show_plan(item: Any) -> None:
    """Print one experiment, or one combination of a plain sweep (`suexp.experiment.plan.Plan`)."""
    from suexp.config.compose import resolve

    runs = item.runs()
    first = resolve(runs[0].overrides)
    steps = first.config["trainer"]["max_steps"]
    if item.header is None:
        chosen = " ".join(f"{k}={v}" for k, v in sorted(first.choices.items()) if "@" not in k)
        changes = [text for text in item.user if text.split("=")[0] not in first.choices]
        show_text(f"{counted(len(runs), 'run')}, {steps} steps", "bold")
        seeds = " ".join(str(run.seed) for run in runs)
        rows = [("choices", chosen), ("with", " ".join(changes)), ("seeds", seeds)]
        show_rows(("", ""), [row for row in rows if row[1]])
        return
    arms = item.header["arms"]
    counts = f"{counted(len(arms), 'arm')} x {counted(len(item.seeds), 'seed')}"
    show_text(f"experiment={item.slug} ({item.scale}): {counts} = {len(runs)} runs", "bold")
    show_rows(("arm", "overrides"), [(arm, " ".join(items)) for arm, items in arms.items()])
    facts = [
        ("seeds", " ".join(map(str, item.seeds))),
        ("claims", len(item.header.get("claims") or {})),
    ]
    tuning = sum(len(runs) for runs in item.tuning().values())
    if tuning:
        parameter = item.header["tune"]["parameter"]
        facts.append(("tuning", f"{counted(tuning, 'run')} to choose {parameter}"))
    if item.user:
        facts.append(("with", " ".join(item.user)))
    show_rows(("", ""), facts)
