"""What a claim is made of: numbers, metrics of arms, slopes, and what combines them."""

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

FUNCTIONS: dict[str, Callable[..., float]] = {
    "abs": abs,
    "min": min,
    "max": max,
    "log": math.log,
    "log10": math.log10,
    "exp": math.exp,
    "sqrt": math.sqrt,
}


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Metric:
    """``name[arm]``: a final metric of an arm."""

    name: str
    arm: str


@dataclass(frozen=True)
class Condition:
    """A row filter of a slope: ``kernel=positive``, ``m >= 64``."""

    column: str
    relation: str
    value: str | float

    def holds(self, row: dict[str, Any]) -> bool:
        """Tell whether a row of a table passes."""
        value = row.get(self.column)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.relation == "==" and str(value).lower() == str(self.value).lower()
        return isinstance(self.value, float) and compare(float(value), self.relation, self.value)


@dataclass(frozen=True)
class Slope:
    """Least-squares slope of y against x, over the rows of an arm's table or over several arms."""

    y: str
    log_y: bool
    x: str
    log_x: bool
    table: str | None
    where: tuple[Condition, ...]
    arms: tuple[str, ...]

    def fit(self, points: list[tuple[float, float]]) -> float:
        """Fit the line to (x, y), after the logarithms that the claim asks for.

        Raises:
            ArithmeticError: fewer than two different x, or the logarithm of what is not positive.
        """
        if any((self.log_x and x <= 0) or (self.log_y and y <= 0) for x, y in points):
            raise ArithmeticError(f"the slope of {self.y} takes the logarithm of a number <= 0")
        xs = [math.log(x) if self.log_x else x for x, _ in points]
        ys = [math.log(y) if self.log_y else y for _, y in points]
        if len(set(xs)) < 2:
            raise ArithmeticError(f"the slope of {self.y} needs two different values of {self.x}")
        x_mean, y_mean = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
        rise = math.fsum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
        return rise / math.fsum((x - x_mean) ** 2 for x in xs)


@dataclass(frozen=True)
class Call:
    """An operation or a function, by its sign or name, of its arguments."""

    function: str
    arguments: tuple["Expression", ...]


Expression = Number | Metric | Slope | Call
_OPERATIONS: dict[str, Callable[..., float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "negative": operator.neg,
    **FUNCTIONS,
}


def evaluate(expression: Expression, read: Callable[[Metric | Slope], float]) -> float:
    """Compute an expression.

    Args:
        expression: what to compute.
        read: gives the value of the parts that read runs.

    Raises:
        ArithmeticError: a division by zero, or a logarithm or root of what has none.
    """
    if isinstance(expression, Number):
        return expression.value
    if not isinstance(expression, Call):
        return read(expression)
    values = [evaluate(argument, read) for argument in expression.arguments]
    try:
        return _OPERATIONS[expression.function](*values)
    except ZeroDivisionError:
        raise ArithmeticError("a division by zero") from None
    except (ValueError, OverflowError):
        raise ArithmeticError(f"no {expression.function} of {values[0]:g}") from None


@dataclass(frozen=True)
class Link:
    """One comparison: ``left relation right``, for ``==`` within a margin."""

    left: Expression
    relation: str
    right: Expression
    margin: float | None
    text: str


@dataclass(frozen=True)
class Claim:
    """A parsed claim: it holds when every link holds."""

    links: tuple[Link, ...]
    test: str

    @property
    def arms(self) -> list[str]:
        """The arms it needs, in the order of their appearance."""
        found: dict[str, None] = {}
        for leaf in self._leaves():
            found |= dict.fromkeys([leaf.arm] if isinstance(leaf, Metric) else leaf.arms)
        return list(found)

    @property
    def metrics(self) -> list[str]:
        """The final metrics it reads, in the order of their appearance."""
        found: dict[str, None] = {}
        for leaf in self._leaves():
            if isinstance(leaf, Metric):
                found[leaf.name] = None
            elif len(leaf.arms) > 1:
                found |= dict.fromkeys([leaf.y, leaf.x])
        return list(found)

    def _leaves(self) -> Iterator[Metric | Slope]:
        for link in self.links:
            yield from leaves(link.left)
            yield from leaves(link.right)


def leaves(expression: Expression) -> Iterator[Metric | Slope]:
    """Yield the parts of an expression that read runs."""
    if isinstance(expression, Call):
        for argument in expression.arguments:
            yield from leaves(argument)
    elif not isinstance(expression, Number):
        yield expression


def compare(a: float, relation: str, b: float) -> bool:
    """Tell whether ``a relation b`` holds."""
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "==": a == b}[relation]
