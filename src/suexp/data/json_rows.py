"""Rows of JSON: an object a line, or all of them in one list."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from suexp.data import bounds
from suexp.data.lines import Record, lines_of
from suexp.errors import UserError


class _Twice(Exception):
    """A JSON object has two values of one name."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise _Twice(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return row


_JSON = json.JSONDecoder(object_pairs_hook=_object)
_BLANK = re.compile(r"\s*")


def json_rows(path: Path) -> Iterator[Record]:
    """Yield the objects of a file, each with the line in which it begins.

    Raises:
        UserError: what is no object, or has two values of one name; a list that is too long to be
            held.
    """
    for number, line in lines_of(path):
        if not line.strip():
            continue
        if line.lstrip().startswith("["):
            yield from _list(path)
            return
        row, _ = _decoded(path, number, line, _BLANK.match(line).end())  # type: ignore[union-attr]
        yield f"{path}:{number}", row


def _list(path: Path) -> Iterator[Record]:
    """Yield the objects of a file that is one list."""
    held, size = [], 0
    for _, line in lines_of(path):
        held.append(line)
        size += len(line)
        if size > bounds.LINE:
            raise UserError(
                f"{path}: a list of over {bounds.size(bounds.LINE)}; write an object a line: "
                f"jq -c '.[]' {path} > {path.with_suffix('.jsonl')}"
            )
    text = "".join(held)
    place, number, counted = text.index("[") + 1, 1, 0
    while (place := _skipped(text, place)) < len(text) and text[place] != "]":
        number, counted = number + text.count("\n", counted, place), place
        row, place = _decoded(path, number, text, place, whole=False)
        yield f"{path}:{number}", row
        place = _skipped(text, place)
        if text[place : place + 1] not in (",", "]"):
            break
        place += text[place] == ","
    if text[place:].strip() != "]":
        number += text.count("\n", counted, place)
        raise UserError(f"{path}:{number}: the list is broken here; each object ends with , or ]")


def _skipped(text: str, place: int) -> int:
    return _BLANK.match(text, place).end()  # type: ignore[union-attr]


def _decoded(
    path: Path, number: int, text: str, place: int, whole: bool = True
) -> tuple[dict[str, Any], int]:
    """Return the object that begins at a place, and where it ends."""
    try:
        row, end = _JSON.raw_decode(text, place)
        if whole and (rest := _skipped(text, end)) < len(text):
            raise json.JSONDecodeError("Extra data", text, rest)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{number}: not a JSON object: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # a number or a nesting that is too long
        reason = str(error).partition(";")[0]
        raise UserError(f"{path}:{number}: not a JSON object to read: {reason}") from error
    except _Twice as error:
        raise UserError(
            f"{path}:{number}: two values have the name {error.args[0]!r}; rename one of them"
        ) from error
    if not isinstance(row, dict):
        raise UserError(f"{path}:{number}: not a JSON object but {type(row).__name__}")
    return row, end
