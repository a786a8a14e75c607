"""Inputs with their answers, from which prompts are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suexp.data.paths import found_files
from suexp.data.records import records
from suexp.errors import UserError


@dataclass(frozen=True, slots=True)
class Example:
    """An input, its answer, and all answers that it might have (none: any text)."""

    text: str
    answer: str
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skill:
    """Something to be shown by examples.

    Attributes:
        name: what it is called.
        examples: to choose demonstrations from.
        queries: to be answered.
    """

    name: str
    examples: Sequence[Example]
    queries: Sequence[Example]


def labelled(
    examples: str, queries: str | None, columns: dict[str, str], longest: int | None
) -> Skill:
    """Return labelled texts of local files (JSON lines, CSV, TSV, Parquet) as a skill.

    The labels of the examples are the candidates of every query. Blanks stand for line breaks
    within a text, since a line is an example.

    Args:
        examples: path of the examples.
        queries: path of the queries; None: those of the examples that are not shown.
        columns: ``text`` and ``label`` -> what the files call them.
        longest: characters of a text, whose rest is left out; None: all.

    Raises:
        UserError: a file that is missing or broken, a query of an unknown label, or one label only.
    """
    shown = _read("examples", examples, columns, longest)
    names = tuple(sorted({answer for _, answer in shown}))
    if len(names) < 2:
        raise UserError(f"{examples}: all rows have the label {names[0]!r}; there is no choice")
    asked = shown if queries is None else _read("queries", queries, columns, longest)
    if odd := next((answer for _, answer in asked if answer not in names), None):
        raise UserError(f"{queries}: no example has the label {odd!r}")
    rows, others = ([Example(*row, names) for row in part] for part in (shown, asked))
    return Skill(Path(examples).stem, rows, others)


def _read(
    name: str, path: str, columns: dict[str, str], longest: int | None
) -> list[tuple[str, str]]:
    key = f"callbacks.few_shot.{name}"
    wanted = {column: str(columns.get(column, column)) for column in ("text", "label")}
    rows: list[tuple[str, str]] = []
    for file in found_files(key, path):
        for where, row in records(file, None, wanted, True, "line"):
            rows.append((_line(where, row["text"])[:longest], _line(where, row["label"])))
    return rows


def _line(where: str, value: Any) -> str:
    if not isinstance(value, str | int) or not str(value).strip():
        raise UserError(f"{where}: {str(value)[:40]!r} is neither a text nor a number")
    return " ".join(str(value).split())
