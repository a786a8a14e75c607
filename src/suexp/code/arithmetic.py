"""What an expression of a source file comes to, as far as plain values tell."""

import ast
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from suexp.code.source import Module

_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (abs, all, any, bool, enumerate, float, int, isinstance, len, list, max, min)
} | {function.__name__: function for function in (map, repr, set, sorted, str, sum, tuple, zip)}
_FUNCTIONS |= {"range": lambda *ends: short(range(*ends))}
_FUNCTIONS |= {f"math.{name}": getattr(math, name) for name in ("isfinite", "isqrt", "log")}
_TYPES = {kind.__name__: kind for kind in (bool, dict, float, int, list, str, tuple)}
_MOST = 10_000  # entries of a list that is looked through


class Unread(Exception):
    """More than values is needed."""


UNKNOWN = (Unread, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Values:
    """Names and their values, and what expressions of them come to.

    Args:
        module: where the expressions stand; its own names are looked up there.
        names: the names that are known beside the module's.
        deep: how many functions and names within each other are followed.
        budget: one entry is taken for each statement of all functions.
    """

    def __init__(
        self, module: Module, names: Mapping[str, Any], deep: int, budget: Iterator[int]
    ) -> None:
        if not deep:
            raise Unread
        self.module, self.deep, self.budget = module, deep, budget
        self.names = dict(names)

    def follow(self, module: Module, called: ast.AST, node: ast.Call) -> Any:
        """Return what a function of suexp's, or of the user's, returns for a call."""
        del module, called, node
        raise Unread

    def bind(self, target: ast.expr, entry: Any) -> None:
        """Give the names of an assignment's left side their values."""
        if isinstance(target, (ast.Tuple, ast.List)):
            for part, value in zip(target.elts, short(entry), strict=True):
                self.bind(part, value)
        else:
            self.names[ast.unparse(target)] = entry

    def value(self, node: ast.expr) -> Any:
        """Return an expression's value.

        Raises:
            Unread: it needs more than arithmetic.
        """
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise Unread
        return method(node)

    def _constant(self, node: ast.Constant) -> Any:
        return node.value

    def _name(self, node: ast.Name) -> Any:
        if node.id in self.names:
            return self.names[node.id]
        if node.id in _TYPES:
            return _TYPES[node.id]
        found = self.module.lookup(node)
        if not (isinstance(found, tuple) and isinstance(found[1], ast.expr)):
            raise Unread
        return Values(found[0], {}, self.deep - 1, self.budget).value(found[1])

    def _attribute(self, node: ast.Attribute) -> Any:
        name = ast.unparse(node)
        if name == "math.inf":
            return math.inf
        if name not in self.names:  # of self
            raise Unread
        return self.names[name]

    def _tuple(self, node: ast.Tuple | ast.List) -> Any:
        return tuple(self.spread(node.elts))

    _list = _tuple

    def _set(self, node: ast.Set) -> Any:
        return set(self.spread(node.elts))

    def _dict(self, node: ast.Dict) -> Any:
        """Return the mapping; values that are functions, say, stand as None."""
        found: dict[Any, Any] = {}
        for key, part in zip(node.keys, node.values, strict=True):
            if key is None:
                found |= self.value(part)
                continue
            found[self.value(key)] = None
            with suppress(*UNKNOWN):
                found[self.value(key)] = self.value(part)
        return found

    def _joinedstr(self, node: ast.JoinedStr) -> str:
        return "".join(str(self.value(part)) for part in node.values)

    def _formattedvalue(self, node: ast.FormattedValue) -> str:
        form = self.value(node.format_spec) if node.format_spec else ""
        entry = self.value(node.value)
        return format(repr(entry) if node.conversion == ord("r") else entry, form)

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        return _operator(node.op)(self.value(node.operand))

    def _binop(self, node: ast.BinOp) -> Any:
        left, right = pair = (self.value(node.left), self.value(node.right))
        if isinstance(node.op, ast.Pow):
            if not all(abs(x) < 1000 for x in (left, right)):
                raise Unread
            return left**right
        if isinstance(node.op, ast.Mult) and not all(isinstance(x, (int, float)) for x in pair):
            raise Unread  # a list so many times over
        return _operator(node.op)(left, right)

    def _boolop(self, node: ast.BoolOp) -> Any:
        for part in node.values:
            found = self.value(part)
            if bool(found) == isinstance(node.op, ast.Or):
                return found
        return found

    def _compare(self, node: ast.Compare) -> bool:
        left = self.value(node.left)
        for op, part in zip(node.ops, node.comparators, strict=True):
            right = self.value(part)
            if not _operator(op)(left, right):
                return False
            left = right
        return True

    def _ifexp(self, node: ast.IfExp) -> Any:
        return self.value(node.body if self.value(node.test) else node.orelse)

    def _subscript(self, node: ast.Subscript) -> Any:
        if isinstance(node.slice, ast.Slice):
            raise Unread
        return self.value(node.value)[self.value(node.slice)]

    def _call(self, node: ast.Call) -> Any:
        name = ast.unparse(node.func)
        if isinstance(node.func, ast.Name) and name not in self.names:
            found = self.module.lookup(node.func)
            if isinstance(found, tuple):
                return self.follow(found[0], found[1], node)
        arguments = self.spread(node.args)
        named = {str(word.arg): self.value(word.value) for word in node.keywords}
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("items", "join", "values"):
            return getattr(self.value(node.func.value), node.func.attr)(*arguments)
        if name not in _FUNCTIONS or name in self.names:
            raise Unread
        return _FUNCTIONS[name](*arguments, **named)

    def spread(self, arguments: Sequence[ast.expr]) -> list[Any]:
        """Return the values of a call's arguments, those of a starred one one by one."""
        found: list[Any] = []
        for argument in arguments:
            if isinstance(argument, ast.Starred):
                found.extend(short(self.value(argument.value)))
            else:
                found.append(self.value(argument))
        return found

    def _generatorexp(self, node: ast.GeneratorExp | ast.ListComp | ast.SetComp) -> list[Any]:
        if len(node.generators) != 1:
            raise Unread
        (part,) = node.generators
        inner = Values(self.module, self.names, self.deep - 1, self.budget)
        found = []
        for entry in short(self.value(part.iter)):
            inner.bind(part.target, entry)
            if all(inner.value(test) for test in part.ifs):
                found.append(inner.value(node.elt))
        return found

    _listcomp = _generatorexp

    def _setcomp(self, node: ast.SetComp) -> set[Any]:
        return set(self._generatorexp(node))


def _operator(node: ast.AST) -> Callable[..., Any]:
    found = _OPERATORS.get(type(node))
    if found is None:
        raise Unread
    return found


def short(value: Any) -> Any:
    """Return something to go through, if it is not too long."""
    if isinstance(value, (enumerate, map, zip)):
        value = list(itertools.islice(value, _MOST + 1))
    if not hasattr(value, "__len__") or isinstance(value, str) or len(value) > _MOST:
        raise Unread
    return value
