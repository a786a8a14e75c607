"""What every run's config holds beside its components: the runner's own keys, and whole groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from suexp.code.source import read
from suexp.config.catalogue import Catalogue
from suexp.config.fits import mismatch
from suexp.errors import UserError, at_least

MOST_SEED = 2**32 - 1  # that Lightning takes
# More threads help no run, and a process that asks for millions of them is aborted.
MOST_THREADS = 1024


@dataclass
class Own:
    """The runner's own keys; conf/config.yaml says what they do. It is read, never made."""

    seed: int
    rerun: bool
    on_error: Literal["continue", "stop"]
    threads: int | None
    out: str
    parent: str | list[str] | None
    sources: dict[str, str | list[str]] | None
    callbacks: dict[str, Any] | None
    run: dict[str, Any] | None
    study: dict[str, Any] | None
    scale: dict[str, Any]


def check_own(config: Mapping[str, Any], catalogue: Catalogue) -> None:
    """Refuse a config whose own keys are lost, of another type, or out of bounds.

    Raises:
        UserError: the first such key.
    """
    source = read(f"{__name__}.{Own.__name__}")
    assert source is not None
    for key, parameter in source.signature.parameters.items():
        if key not in catalogue.primary and key not in catalogue.defaults:
            continue
        if key not in config:
            raise UserError(f"{key}: every run needs it; leave out ~{key}")
        assert parameter.annotation is not None
        complaint = mismatch(config[key], parameter.annotation, parameter.module)
        if complaint:
            raise UserError(f"{key}: {complaint}")
    if not isinstance(config["scale"].get("name"), str):
        raise UserError(f"scale.name: the name of a scale, not {config['scale'].get('name')}")
    try:
        at_least(0, most=MOST_SEED, seed=config["seed"])
        at_least(1, most=MOST_THREADS, threads=config.get("threads"))
    except ValueError as error:
        raise UserError(str(error)) from error


def check_groups(config: Mapping[str, Any], choices: Mapping[str, str], base: Catalogue) -> None:
    """Refuse a config that lacks a group of which conf/config.yaml chooses something.

    An option's YAML may choose null there; that of one's own is not known here.

    Raises:
        UserError: the group, and what to choose.
    """
    chosen = [
        (group.split("@")[0], name) for group, names in choices.items() for name in names.split(",")
    ]
    known = [base.option(*item) for item in chosen if item[1] in base.groups.get(item[0], {})]
    files = [file for option in known for file in (option, *option.ancestors())]
    without = {group for file in files for group in file.without}
    needed = ("data", "task", "trainer") if len(known) < len(chosen) else tuple(base.defaults)
    for group, name in base.defaults.items():
        default = base.option(group, name) if name in base.groups.get(group, {}) else None
        if default is None or not default.content or group in without:
            continue
        node = config.get(group)
        if node is None and group in needed:
            raise UserError(
                f"{group}: a run needs one; leave out ~{group}, or choose {group}={name}"
            )
        if isinstance(node, dict) and default.target and "_target_" not in node:
            raise UserError(f"{group}._target_: is missing; choose an option, {group}={name}")
