"""Whether a value of a config fits a constructor's annotation, read as a syntax tree."""

import ast
import math
from collections.abc import Iterator
from typing import Any

from suexp.code.source import Module
from suexp.near import near

_LISTS = {
    "list",
    "tuple",
    "Sequence",
    "Iterable",
    "Collection",
    "set",
    "frozenset",
    "List",
    "Tuple",
}
_INT_END = 2**63  # of torch's and numpy's ints
_MAPPINGS = {"dict", "Mapping", "MutableMapping", "Dict"}
_NAMES = {"int": "an int", "float": "a float", "bool": "true or false", "str": "a string"}
_PLURALS = {"int": "ints", "float": "floats", "bool": "booleans", "str": "strings"}


def mismatch(value: Any, annotation: ast.expr, module: Module) -> str:
    """Return why a config's value does not fit an annotation, or nothing when it may fit."""
    if _fits(value, annotation, module):
        return ""
    kinds = list(_alternatives(annotation, module))
    shown = _show(value)
    literals = [option for kind in kinds for option in _literals(kind)]
    if literals and isinstance(value, str):
        return f"{shown} is none of {', '.join(map(_show, literals))}" + _only_near(value, literals)
    names = [name for kind in kinds if (name := _name(kind))]
    if {"an int", "a float"} <= set(names):
        names = ["a number", *(name for name in names if name not in ("an int", "a float"))]
    line = f"{shown} is not {' or '.join(dict.fromkeys(names))}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{shown} is no finite number"
    if isinstance(value, int) and not -_INT_END <= value < _INT_END:
        return f"{line} of 64 bits"
    if isinstance(value, float) and value.is_integer() and "an int" in names and value < _INT_END:
        line += f"; write {int(value)}"
    elif "a string" in names and isinstance(value, (int, float)):
        line += f"; quote it: '\"{value}\"'"
    return line


def choices(annotation: ast.expr, module: Module) -> list[str]:
    """Return the words among which an annotation lets one choose, as a config has them."""
    kinds = list(_alternatives(annotation, module))
    literals = [option for kind in kinds for option in _literals(kind)]
    found = [option if isinstance(option, str) else _show(option) for option in literals]
    names = [_last(kind) for kind in kinds]
    found += ["true", "false"] if "bool" in names else []
    none = any(isinstance(kind, ast.Constant) and kind.value is None for kind in kinds)
    return [*found, "null"] if found and none else found


def _fits(value: Any, annotation: ast.expr, module: Module) -> bool:
    """Tell whether a value may fit; an annotation that cannot be judged fits everything."""
    if isinstance(value, dict) and "_target_" in value:
        return True
    return any(_fits_one(value, kind, module) for kind in _alternatives(annotation, module))


def _fits_one(value: Any, kind: ast.expr, module: Module) -> bool:
    if isinstance(kind, ast.Constant) and kind.value is None:
        return value is None
    if isinstance(kind, ast.Subscript):
        name, inner = _last(kind.value), _items(kind.slice)
        if name == "Literal":
            # In Python True equals 1; in a config they are two things.
            return any(type(value) is type(item) and value == item for item in _literals(kind))
        if name == "Annotated":
            return _fits(value, inner[0], module)
        if name == "tuple" and not (len(inner) == 2 and _is_ellipsis(inner[1])):
            return (
                isinstance(value, (list, tuple))
                and len(value) == len(inner)
                and all(_fits(v, k, module) for v, k in zip(value, inner, strict=True))
            )
        if name in _LISTS:
            return isinstance(value, (list, tuple)) and all(
                _fits(item, inner[0], module) for item in value
            )
        if name in _MAPPINGS and len(inner) == 2:
            return isinstance(value, dict) and all(
                _fits(item, inner[1], module) for item in value.values()
            )
        return True
    name = _last(kind)
    if name == "bool":
        return isinstance(value, bool)
    if name == "int":
        return (
            isinstance(value, int) and not isinstance(value, bool) and -_INT_END <= value < _INT_END
        )
    if name == "float":
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and -math.inf < value < math.inf
    if name in ("str", "Path"):
        return isinstance(value, str)
    if name in _LISTS:
        return isinstance(value, (list, tuple))
    if name in _MAPPINGS:
        return isinstance(value, dict)
    found = module.lookup(kind)
    torchs = isinstance(found, str) and found.startswith("torch.")
    if torchs or (isinstance(found, tuple) and isinstance(found[1], ast.ClassDef)):
        # A class of suexp's own or torch's is no number, word or list; a node can describe it.
        return value is None or isinstance(value, dict)
    return True


def _alternatives(annotation: ast.expr, module: Module) -> Iterator[ast.expr]:
    """Give the members of a union, aliases and quoted annotations resolved."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        yield from _alternatives(annotation.left, module)
        yield from _alternatives(annotation.right, module)
        return
    if isinstance(annotation, ast.Subscript) and _last(annotation.value) in ("Union", "Optional"):
        for item in _items(annotation.slice):
            yield from _alternatives(item, module)
        if _last(annotation.value) == "Optional":
            yield ast.Constant(None)
        return
    if isinstance(annotation, ast.Name):
        found = module.lookup(annotation)
        if isinstance(found, tuple) and isinstance(found[1], ast.expr):
            yield from _alternatives(found[1], found[0])
            return
    yield annotation


def _name(kind: ast.expr) -> str:
    if isinstance(kind, ast.Constant) and kind.value is None:
        return "null"
    name = _last(kind.value if isinstance(kind, ast.Subscript) else kind)
    if isinstance(kind, ast.Subscript):
        inner = _items(kind.slice)
        if name == "Literal":
            return f"one of {', '.join(map(_show, _literals(kind)))}"
        if name in _LISTS:
            count = f"{len(inner)} " if name == "tuple" and not _is_ellipsis(inner[-1]) else ""
            what = {_PLURALS.get(_last(item), "values") for item in inner if not _is_ellipsis(item)}
            return f"a list of {count}{what.pop() if len(what) == 1 else 'values'}"
    if name in _LISTS:
        return "a list"
    if name in _MAPPINGS:
        return "a mapping"
    return _NAMES.get(name, "a path" if name == "Path" else ast.unparse(kind))


def _literals(kind: ast.expr) -> list[Any]:
    if isinstance(kind, ast.Subscript) and _last(kind.value) == "Literal":
        return [item.value for item in _items(kind.slice) if isinstance(item, ast.Constant)]
    return []


def _items(node: ast.expr) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.Tuple) else [node]


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _show(value: Any) -> str:
    """Return a value as YAML would have it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return repr(value)


def _only_near(word: str, known: list[Any]) -> str:
    clause = near(word, [str(item) for item in known])
    return clause if "did you mean" in clause else ""
