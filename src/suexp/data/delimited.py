"""Rows of tables in text: CSV, TSV, and what lies between the two."""

import csv
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from suexp.data import bounds
from suexp.data.columns import refuse_twice
from suexp.data.lines import Record, lines_of
from suexp.errors import UserError

SEPARATORS = (",", "\t", ";")  # the first wins where several split alike
PEEKED = 20  # rows by which they are judged


def delimited_rows(
    path: Path, kind: str, header: bool | None, columns: Collection[str]
) -> Iterator[Record]:
    """Yield the rows of a table, each with the line in which it ends.

    Of ``csv`` the separator is the one of comma, tab and semicolon that makes the most fields of
    the first rows, of each as many. What is separated by tabs is written without quotes as a rule,
    and a stray one would swallow lines; where they surround all fields of the first line they are
    quotes.

    Args:
        path: the file.
        kind: csv or tsv.
        header: whether the first line names the columns; None: unless some of these are numbers
            which it does not have.
        columns: what is wanted of it.

    Raises:
        UserError: rows of different lengths, or a name that two columns have.
    """
    csv.field_size_limit(bounds.LINE)
    names: list[str] | None = None
    numbers = {column for column in columns if column.isdigit()}
    start = 1
    reader = _reader(path, "\t" if kind == "tsv" else _separator(path))
    try:
        for row in reader:
            begun, start = start, reader.line_num + 1
            if not row:
                continue
            if names is None:
                header = numbers <= {name.strip() for name in row} if header is None else header
                names = [name.strip() if header else str(i) for i, name in enumerate(row)]
                refuse_twice(f"{path}:{reader.line_num}", names)
                if header:
                    continue
            if len(row) != len(names):
                lines = reader.line_num - begun
                raise UserError(
                    f"{path}:{begun}: {len(row)} fields instead of {len(names)}"
                    + (f", over {lines + 1} lines; close the quote that begins here" * (lines > 0))
                )
            yield f"{path}:{reader.line_num}", dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: {error}") from error


def _reader(path: Path, separator: str) -> Any:
    lines = (text for _, text in lines_of(path))
    if separator != "\t" or _all_quoted(path):
        return csv.reader(lines, delimiter=separator)
    return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)


def _all_quoted(path: Path) -> bool:
    first = next((text.rstrip("\r\n") for _, text in lines_of(path)), "")
    fields = first.split("\t")
    return all(len(field) > 1 and field[0] == field[-1] == '"' for field in fields)


def _separator(path: Path) -> str:
    return max(SEPARATORS, key=lambda separator: _fits(path, separator))


def _fits(path: Path, separator: str) -> tuple[bool, int]:
    """Return whether a separator splits the first rows alike, and in how many fields the first."""
    try:
        sizes = [
            len(row) for row in islice((row for row in _reader(path, separator) if row), PEEKED)
        ]
    except csv.Error:
        sizes = []
    first = sizes[0] if sizes else 1
    return first > 1 and len({*sizes}) == 1, first
