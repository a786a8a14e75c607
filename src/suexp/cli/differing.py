"""``suexp diff A B``: what differs between two runs, and nothing else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from suexp.cli.terminal import parser, show_rows, show_text
from suexp.config.overrides import typed
from suexp.report.wording import number
from suexp.store.identity import volatile
from suexp.store.query import Stored, named

ABSENT = "-"


def run(argv: Sequence[str]) -> int:
    """Print the keys of the configs, the metrics and the code that differ; return 1 if any does.

    Raises:
        UserError: no such run, or several.
    """
    arguments = parser("diff", "What differs between two runs: config, metrics, code and data.")
    arguments.add_argument("first", help="a run's id, its beginning, or its folder")
    arguments.add_argument("second")
    arguments.add_argument("--out", type=Path, default=Path("outputs"), help="default: outputs")
    arguments.add_argument("--json", action="store_true", help="machine readable")
    given = arguments.parse_args(argv)
    first, second = (named("diff", name, given.out) for name in (given.first, given.second))
    found = {
        "config": dict(settings(first.config, second.config)),
        "metrics": dict(_differing(first.entry.metrics, second.entry.metrics)),
        "code": code(first, second),
    }
    if given.json:
        print(json.dumps({"runs": [first.id, second.id], **found}, indent=1, default=str))
    else:
        show(first, second, found)
    return int(any(found.values()))


def settings(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Give the keys of two configs that differ; those that change no result are left out."""
    for key, values in _differing(dict(_flat(first)), dict(_flat(second))):
        if not volatile(key):
            yield key, values


def code(first: Stored, second: Stored) -> list[str]:
    """Return in words what else the runs depend on that differs."""
    if first.identity is None or second.identity is None:
        return []
    return first.identity.changes(second.identity)


def show(first: Stored, second: Stored, found: Mapping[str, Any]) -> None:
    """Print the differences."""
    if not any(found.values()):
        show_text(f"{first.id} and {second.id} do not differ")
        return
    heads = ("", first.id, second.id, "difference")
    rows: list[tuple[str, ...]] = [heads]
    for key, values in found["config"].items():
        rows.append((key, *map(_text, values), ""))
    for name, (before, after) in found["metrics"].items():
        numbers = [isinstance(x, (int, float)) for x in (before, after)]
        off = f"{after - before:+.4g}" if all(numbers) else ""
        rows.append((name, *(number(x) for x in (before, after)), off))
    show_rows(("", "", "", ""), rows)
    for line in found["code"]:
        show_text(line, "dim")


def _text(value: Any) -> str:
    return ABSENT if value is ABSENT else typed(value)


def _differing(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for key in sorted({**first, **second}):
        pair = first.get(key, ABSENT), second.get(key, ABSENT)
        if pair[0] != pair[1]:
            yield key, pair


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give the values under their dotted keys; an empty mapping is a value."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
