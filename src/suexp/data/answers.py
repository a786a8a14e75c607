"""What a row's label says: a class, a number, or several classes at once."""

import math
from typing import Any, Literal

from suexp.errors import UserError

Answer = Literal["class", "number", "set"]


def answer_of(where: str, column: str, value: Any, answer: Answer = "class") -> Any:
    """Return a label as a class (`class_of`), a float, or a tuple of classes.

    Raises:
        UserError: the column holds something else.
    """
    if answer == "class":
        return class_of(where, column, value)
    if answer == "number":
        return number_of(where, column, value, "classes are for data.kind=classification")
    labels = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(class_of(where, column, label) for label in labels))


def class_of(where: str, column: str, value: Any) -> str | int:
    """Return a class: a word or an integer; true is 1, and 2.0 is 2.

    Raises:
        UserError: something else; an empty cell is no word.
    """
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    if isinstance(value, list):
        raise UserError(
            f"{where}: column {column!r} holds a list, not a word or an integer; for several "
            "labels a text use task=multilabel data.kind=multilabel"
        )
    if not isinstance(value, str | int):
        raise UserError(
            f"{where}: column {column!r} holds {kind_of(value)}, not a word or an integer"
        )
    if isinstance(value, str) and not value.strip():
        raise UserError(f"{where}: column {column!r} is empty; fill it or remove the row")
    return value


def number_of(where: str, column: str, value: Any, hint: str) -> float:
    """Return a finite number; the hint says what else to do.

    Raises:
        UserError: something else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        shown = value[:40] if isinstance(value, str) else value
        raise UserError(f"{where}: column {column!r} holds {shown!r}, not a number; {hint}")
    return number


def kind_of(value: Any) -> str:
    """Return the kind of a value in a word."""
    return "nothing" if value is None else type(value).__name__
