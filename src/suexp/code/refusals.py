"""What a constructor refuses, found by reading it: importing a component would import torch.

Constructors begin with what they refuse: calls of `suexp.errors`, and ``if ...: raise ValueError``.
Such statements are worked out here on a config's values, like a pocket calculator that knows a few
functions; whatever needs more than arithmetic (a tensor, a file, another component) is left to the
constructor itself.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from suexp import errors
from suexp.code.arithmetic import UNKNOWN, Unread, Values, short
from suexp.code.source import Module, Target, constructor
from suexp.errors import UserError, one_line

_REFUSALS = ("ValueError", "UserError")
_DEEP = 8  # constructors, functions and names within each other
_STATEMENTS = 2_000  # in all


class _Refused(Exception):
    """The constructor raises."""


class _Returned(Exception):
    """The function ends here, or may."""


def refusal(source: Target, values: Mapping[str, Any]) -> str:
    """Return what a class's constructor would say against these arguments, or nothing.

    Args:
        source: the class.
        values: those arguments that the config has; others are known to the run only.
    """
    parts = {name for name, value in values.items() if _is_component(value)}
    try:
        budget = iter(range(_STATEMENTS))
        given = {name: value for name, value in values.items() if name not in parts}
        _construct(source.lineage, given, _DEEP, budget)
    except _Refused as stop:
        return one_line(str(stop))
    except (Unread, StopIteration):
        pass
    return ""


def _is_component(value: Any) -> bool:
    return isinstance(value, dict) and "_target_" in value


def _construct(
    lineage: Sequence[Target], values: dict[str, Any], deep: int, budget: Iterator[int]
) -> None:
    """Work out the constructor of the first of these classes that has one."""
    for place, item in enumerate(lineage):
        found = constructor(item)
        if found is not None:
            scope = _Scope(item.module, values, deep, budget, found, lineage[place + 1 :])
            scope.run(found.body)
            return


class _Scope(Values):
    """Names and their values in a function that is worked out statement by statement."""

    def __init__(
        self,
        module: Module,
        values: dict[str, Any],
        deep: int,
        budget: Iterator[int],
        function: ast.FunctionDef | None = None,
        bases: Sequence[Target] = (),
    ) -> None:
        super().__init__(module, values, deep, budget)
        self.bases = bases
        if function is not None and function.name == "__post_init__":
            self.names |= {f"self.{name}": value for name, value in values.items()}
        own = _parameters(function) if function else []
        self.rest = {name: value for name, value in values.items() if name not in own}

    def run(self, body: list[ast.stmt]) -> None:
        """Go through statements; those that need more than values leave names unknown."""
        with suppress(_Returned):
            self._go(body)

    def _go(self, body: list[ast.stmt]) -> None:
        for node in body:
            try:
                next(self.budget)
                self._statement(node)
            except UNKNOWN:
                if any(isinstance(part, ast.Return) for part in ast.walk(node)):
                    raise _Returned from None
                for part in ast.walk(node):
                    if isinstance(part, (ast.Name, ast.Attribute)):
                        self._forget(part)

    def _forget(self, part: ast.Name | ast.Attribute) -> None:
        """Make a name unknown where the statement that it stands in may have changed its value."""
        name = ast.unparse(part)
        stored = isinstance(part.ctx, ast.Store)
        if stored or isinstance(self.names.get(name), (list, dict, set)):
            self.names.pop(name, None)

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Return):
            raise _Returned
        if isinstance(node, ast.Raise):
            error = node.exc
            if not (isinstance(error, ast.Call) and ast.unparse(error.func) in _REFUSALS):
                raise Unread
            raise _Refused(self.value(error.args[0]))
        if isinstance(node, ast.If):
            self._go(node.body if self.value(node.test) else node.orelse)
        elif isinstance(node, ast.For):
            for entry in short(self.value(node.iter)):
                self.bind(node.target, entry)
                self._go(node.body)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            entry = self.value(node.value)
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                self.bind(target, entry)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            self._effect(node.value)
        elif not isinstance(node, (ast.Expr, ast.Pass)):
            raise Unread

    def _effect(self, node: ast.Call) -> None:
        """Work out a call whose result nobody takes: a base's constructor, or a check."""
        if ast.unparse(node.func) == "super().__init__":
            base = next((found for item in self.bases if (found := constructor(item))), None)
            if base is not None:
                _construct(self.bases, self._bound(base, node), self.deep - 1, self.budget)
        elif isinstance(node.func, ast.Attribute):  # of a list, say, which it changes
            self.names.pop(ast.unparse(node.func.value), None)
        else:
            self.value(node)

    def _bound(self, function: ast.FunctionDef, node: ast.Call) -> dict[str, Any]:
        """Return a function's arguments as far as they are known."""
        pairs = [*zip(_parameters(function), node.args, strict=False)]
        pairs += [(str(word.arg), word.value) for word in node.keywords]
        bound = dict(self.rest) if any(word.arg is None for word in node.keywords) else {}
        for name, expression in pairs:
            bound.pop(name, None)
            with suppress(*UNKNOWN):
                bound[name] = self.value(expression)
        if function.args.vararg is not None:
            with suppress(*UNKNOWN):
                further = node.args[len(function.args.args) :]
                bound[function.args.vararg.arg] = tuple(self.spread(further))
        return bound

    def follow(self, module: Module, called: ast.AST, node: ast.Call) -> Any:
        """Work out what a function or a part's constructor refuses; what it returns is unknown."""
        if module.name == errors.__name__ and isinstance(called, ast.FunctionDef):
            try:
                return getattr(errors, called.name)(*self.spread(node.args), **self._named(node))
            except (ValueError, UserError) as error:
                raise _Refused(str(error)) from None
        if isinstance(called, ast.FunctionDef):
            values = self._bound(called, node)
            _Scope(module, values, self.deep - 1, self.budget, called).run(called.body)
        elif isinstance(called, ast.ClassDef):
            target = Target(called.name, module, called)
            made = next((found for item in target.lineage if (found := constructor(item))), None)
            if made is not None:
                _construct(target.lineage, self._bound(made, node), self.deep - 1, self.budget)
        raise Unread

    def _named(self, node: ast.Call) -> dict[str, Any]:
        """Return a call's arguments by name; those of a check that are unknown are left out."""
        named: dict[str, Any] = {}
        for word in node.keywords:
            with suppress(*UNKNOWN):
                value = self.value(word.value)
                named |= value if word.arg is None else {word.arg: value}
        return named


def _parameters(function: ast.FunctionDef) -> list[str]:
    """Return the names of a function's or method's arguments."""
    spec = function.args
    names = [argument.arg for argument in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
    return [name for name in names if name != "self"]
