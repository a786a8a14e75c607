"""What a source calls its columns, and how they are found in it."""

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from suexp.data.layout import KINDS
from suexp.errors import UserError

# What a record must have -> what it is called in the source.
COLUMNS: dict[str, Any] = {name: name for name in ("text", "label", "other", "tokens", "tags")}


def columns_of(kind: str, columns: Mapping[str, Any]) -> dict[str, str]:
    """Return wanted name -> the source's name, of those columns that the kind of rows needs.

    Raises:
        ValueError: a name that no row has.
    """
    for name in columns:
        if name not in COLUMNS:
            raise ValueError(f"data.columns.{name}: a row has only {', '.join(COLUMNS)}")
    wanted = (*KINDS[kind].columns, *KINDS[kind].optional)
    return {name: str(columns.get(name, name)) for name in wanted}


def optional_columns(kind: str, columns: Mapping[str, str]) -> list[str]:
    """Return the wanted names that may be missing: those that the user has not renamed."""
    return [name for name in KINDS[kind].optional if columns[name] == COLUMNS[name]]


def columns_there(
    where: str,
    columns: Mapping[str, str],
    there: Collection[str],
    optional: Collection[str] = (),
    counted: bool = False,
) -> dict[str, str]:
    """Return the columns without those optional ones that a source does not have.

    Args:
        where: the source, for messages.
        columns: wanted name -> the source's; ``a.b`` is field b of column a.
        there: the source's columns, or a row of it.
        optional: which wanted names may be missing.
        counted: the source's columns can be counted instead, and the first row's names may be none.

    Raises:
        UserError: another one is missing.
    """
    present = {name: column for name, column in columns.items() if _holds(there, column)}
    for name, column in columns.items():
        if name not in present and name not in optional:
            raise UserError(
                missing_column(where, column, columns, list(there))
                + (_by_number(columns, len(there)) if counted and not present else "")
            )
    return present


def _holds(there: Collection[str], column: str) -> bool:
    if column in there:
        return True
    first, dot, rest = column.partition(".")
    if not dot or first not in there:
        return False
    inner = there[first] if isinstance(there, Mapping) else None
    return not isinstance(there, Mapping) or (isinstance(inner, Mapping) and _holds(inner, rest))


def root(column: str, there: Collection[str]) -> str:
    """Return the column of a source that holds a field of it."""
    return column if column in there else column.partition(".")[0]


def value_of(row: Mapping[str, Any], column: str) -> Any:
    """Return what a row holds: in a column of this name, or ``a.b`` in field b of its column a."""
    if column in row:
        return row[column]
    first, _, rest = column.partition(".")
    return value_of(row[first], rest)


def missing_column(where: str, column: str, columns: Mapping[str, str], there: list[str]) -> str:
    """Return the complaint that a source has no such column, with the near match."""
    name = next(name for name, value in columns.items() if value == column)
    near = difflib.get_close_matches(column, there[:1000], n=1, cutoff=0.5)
    hint = (
        f"did you mean data.columns.{name}={near[0]}?"
        if near
        else f"name one with data.columns.{name}=COLUMN"
    )
    return f"{where}: no column {column!r} among {few(there)}; {hint}"


def _by_number(columns: Mapping[str, str], count: int) -> str:
    names = sorted([*columns][:count], key=("text", "other", "label", "tokens", "tags").index)
    numbers = ", ".join(f"{name}: {i}" for i, name in enumerate(names))
    return f"; if the first line is a row, count its columns: 'data.columns={{{numbers}}}'"


def few(names: Iterable[str]) -> str:
    """Return names in a row, the first twelve of many."""
    names = list(names)
    return f"{', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"


def refuse_twice(where: str, names: list[str]) -> None:
    """Refuse names of which one would hide the other.

    Raises:
        UserError: two are equal.
    """
    if len({*names}) < len(names):
        name = Counter(names).most_common(1)[0][0]
        raise UserError(f"{where}: two columns have the name {name!r}; rename one of them")
