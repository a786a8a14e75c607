"""``suexp check OVERRIDES``: compose and check everything that would run, and train nothing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from suexp.cli import argv as command_line
from suexp.cli.terminal import counted, show_rows, show_text
from suexp.code.local_files import local_files
from suexp.code.trust import check_classes, within
from suexp.config.catalogue import Catalogue
from suexp.config.overrides import key_of
from suexp.errors import UserError
from suexp.machine import check_devices

if TYPE_CHECKING:
    from suexp.experiment.plan import Plan

USAGE = """usage: suexp check [-m] [--config-dir DIR] [--contract] [OVERRIDES ...]

Compose and check everything that suexp OVERRIDES would run; nothing is trained. Packages that you
allow are imported, and local files that are named must exist.

  --contract   hold the options that are named, and all classes of your own, to what every option of
               their group keeps: masks, gradients, decoding, state, types; a line for each check"""
CONTRACT = "--contract"
SEARCH = "hydra/sweeper=optuna"

UNCHECKED = (
    "Not checked: what is downloaded (data=hub, checkpoints by name), what the files hold, sizes "
    "that only the data knows, memory and time."
)


def run(argv: Sequence[str]) -> int:
    """Print what would run, or raise what is wrong with it.

    Raises:
        UserError: the first mistake found.
    """
    line = command_line.split([word for word in argv if word != CONTRACT])
    if "--help" in line.flags:
        print(USAGE)
        return 0
    if SEARCH in line.overrides:
        return search(line)
    with checked(line) as plans:
        if CONTRACT in argv:
            from suexp.cli.contracting import hold
            from suexp.config.compose import resolve

            runs = [resolve(run.overrides) for item in plans for run in item.runs()]
            return hold(runs, line.overrides)
        for item in plans:
            show_plan(item)
    conclude()
    return 0


@contextmanager
def checked(line: command_line.CommandLine) -> Iterator[list["Plan"]]:
    """Compose and check everything that a command line asks for; give it while Hydra is there.

    Raises:
        UserError: the first mistake found.
    """
    command_line.precheck(command_line.plain("check", line), Catalogue(line.config_dir))
    from suexp.config.compose import resolve, whole
    from suexp.config.hydra_internals import loader
    from suexp.config.hydra_node import check_hydra
    from suexp.config.overrides import put_anew
    from suexp.experiment.plan import plan

    with loader(line.config_dir):  # one start of Hydra for all runs
        plans = plan(line.overrides)
        configs = [resolve(run.overrides).config for item in plans for run in item.runs()]
        look_around(configs)
        if not any("hydra/launcher" in item for item in line.overrides):
            for config in configs:
                check_devices(config["trainer"])
        asked = put_anew(line.overrides)
        check_hydra(whole(asked), asked)
        yield plans


def conclude() -> None:
    """Print what was checked, and what was not."""
    show_text("Everything composes and fits together; nothing was run.", "dim")
    show_text(UNCHECKED, "dim")


def search(line: command_line.CommandLine) -> int:
    """Check what Optuna would search: each choice, and both ends of each interval.

    Raises:
        UserError: what cannot be searched, a config that cannot work.
    """
    command_line.precheck(command_line.plain("check", line), Catalogue(line.config_dir))
    from suexp.config.compose import whole
    from suexp.config.hydra_internals import loader
    from suexp.config.hydra_node import check_hydra
    from suexp.study.search import parse

    own = [item for item in line.overrides if key_of(item).startswith("hydra")]
    found = parse([item for item in line.overrides if item not in own])
    with loader(line.config_dir):
        look_around([found.check()])
        check_hydra(whole([*found.fixed, *own]), own)
    show_text(f"a search of {counted(len(found.space), 'parameter')}", "bold")
    show_rows(("", ""), [(key, str(item)) for key, item in found.space.items()])
    conclude()
    return 0


def look_around(configs: Sequence[Mapping[str, Any]]) -> None:
    """Look at what composing does not: allowed packages are imported, local files are looked for.

    Raises:
        UserError: a class that cannot be imported, a path that does not exist.
    """
    seen: set[str] = set()
    for config in configs:
        allow = config.get("allow_targets") or ()
        for _ in local_files(config):
            pass
        for key, node in _nodes(config, ""):
            if repr(node) in seen:
                continue
            seen.add(repr(node))
            if within(node["_target_"], allow):
                _import(key, node["_target_"], allow)
            if key.rpartition(".")[2] == "data":
                from suexp.code.instantiate import instantiate
                from suexp.data.base import Data

                if isinstance(data := instantiate(node, allow), Data):
                    data.reads()


def _nodes(node: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every node that names a class, with its key, the innermost first; parents' too."""
    parts = node.items() if isinstance(node, dict) else []
    for name, value in enumerate(node) if isinstance(node, list) else parts:
        yield from _nodes(value, f"{key}.{name}" if key else str(name))
    if isinstance(node, dict) and isinstance(node.get("_target_"), str):
        yield key, node


def _import(key: str, target: str, allow: Sequence[str]) -> None:
    try:
        check_classes({"_target_": target}, allow, key)
    except UserError:
        raise
    except Exception as error:  # whatever a stranger's module does when it is imported
        reason = f"{type(error).__name__}: {error}".split("\n")[0]
        raise UserError(f"{key}: {target} cannot be imported: {reason}") from error


def show_plan(item: "Plan") -> None:
    """Print one experiment, or one combination of a plain sweep."""
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
        ("seeds", str(item.seeding)),
        ("claims", len(item.header.get("claims") or {})),
    ]
    tuning = sum(len(runs) for runs in item.tuning().values())
    if tuning:
        parameter = item.header["tune"]["parameter"]
        facts.append(("tuning", f"{counted(tuning, 'run')} to choose {parameter}"))
    if item.user:
        facts.append(("with", " ".join(item.user)))
    show_rows(("", ""), facts)
