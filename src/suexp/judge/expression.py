"""What a claim is made of: numbers, metrics of arms, slopes, and what combines them."""

import functools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
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
class Condition:
    """A filter of rows or runs: ``kernel=positive``, ``m >= 64``, ``val/loss < 1.15``."""

    column: str
    relation: str
    value: str | float

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row of a table passes."""
        value = row.get(self.column)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.relation == "==" and str(value).lower() == str(self.value).lower()
        return isinstance(self.value, float) and compare(float(value), self.relation, self.value)


@dataclass(frozen=True)
class At:
    """``val/loss@100``: what was last logged by a step."""

    metric: str
    step: int

    def of(self, logged: Sequence[tuple[int, float]]) -> float | None:
        """Return the value, of (step, value) in order; None where there is none."""
        values = [value for step, value in logged if step <= self.step]
        return values[-1] if values else None


@dataclass(frozen=True)
class First:
    """``first(val/accuracy >= 0.9)``: the first logged step of which it holds, else last + 1."""

    metric: str
    relation: str
    value: float

    def of(self, logged: Sequence[tuple[int, float]]) -> float | None:
        """Return the step; None where nothing was logged."""
        if not logged:
            return None
        held = (step for step, value in logged if compare(value, self.relation, self.value))
        return float(next(held, logged[-1][0] + 1))


@dataclass(frozen=True)
class Mean:
    """``mean(train/loss from 400 to 800)``: of what was logged at these steps, both included."""

    metric: str
    start: int
    end: int

    def of(self, logged: Sequence[tuple[int, float]]) -> float | None:
        """Return the mean; None where nothing was logged then."""
        values = [value for step, value in logged if self.start <= step <= self.end]
        return math.fsum(values) / len(values) if values else None


@dataclass(frozen=True)
class Metric:
    """``name[arm]``: a final metric of an arm, or one that is read along its training."""

    name: str
    arm: str
    along: At | First | Mean | None = None


@dataclass(frozen=True)
class Extreme:
    """``largest(optimizer/lr where val/loss < 1.15)[a, b]``: over arms, of a value they set.

    Without an arm of which the conditions hold: -inf for the largest, inf for the smallest.
    """

    largest: bool
    key: str
    where: tuple[Condition, ...]
    arms: tuple[str, ...]

    def of(self, runs: Sequence[tuple[float, Mapping[str, Any]]]) -> float:
        """Return the value, of (value, final metrics) of each arm."""
        held = [value for value, row in runs if all(item.holds(row) for item in self.where)]
        return max(held, default=-math.inf) if self.largest else min(held, default=math.inf)


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

    def __str__(self) -> str:
        """Return it without its conditions."""
        y, x = (
            f"{'log ' * log}{name}" for log, name in ((self.log_y, self.y), (self.log_x, self.x))
        )
        return f"slope({y} ~ {x})[{', '.join(self.arms)}]"

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


Leaf = Metric | Slope | Extreme
Expression = Number | Leaf | Call
_OPERATIONS: dict[str, Callable[..., float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "negative": operator.neg,
    **FUNCTIONS,
}


def evaluate(expression: Expression, read: Callable[[Leaf], float]) -> float:
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
        value = _OPERATIONS[expression.function](*values)
        if math.isinf(value) and all(map(math.isfinite, values)):
            raise OverflowError
        return value
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

    @functools.cached_property
    def leaves(self) -> list[Leaf]:
        """The parts of both sides that read runs."""
        return [*leaves(self.left), *leaves(self.right)]

    @functools.cached_property
    def arms(self) -> list[str]:
        """The arms it needs, in the order of their appearance."""
        arms = [arm for leaf in self.leaves for arm in arms_of(leaf)]
        return list(dict.fromkeys(arms))

    @functools.cached_property
    def by_factor(self) -> bool:
        """Whether it says how many times one is another: ``a < 0.6 * b``, ``a / b > 2``."""
        sides = (self.left, self.right)
        if self.margin is not None or not all(map(_is_product, sides)):
            return False
        read = [sum(1 for _ in leaves(side)) for side in sides]
        factor = any(isinstance(side, Call) for side in sides)
        return factor and (all(read) or max(read) > 1)

    @functools.cached_property
    def bound(self) -> float:
        """What the quantity is held against: the numbers of both sides, apart from what is read."""
        if self.by_factor:
            return _factor(self.right) / _factor(self.left)
        return _summand(self.right) - _summand(self.left)

    @functools.cached_property
    def quantity(self) -> str | None:
        """The quantity in words, where each side reads one metric at most: ``lion - adamw``."""
        left, right = (list(leaves(side)) for side in (self.left, self.right))
        if not all(isinstance(leaf, Metric) for leaf in (*left, *right)) or len(left) != 1:
            return None
        first: Any = left[0]
        if not right:
            return f"{first.name} of {first.arm}"
        second: Any = right[0]
        if len(right) > 1:
            return None
        sign = "/" if self.by_factor else "-"
        if first.name == second.name:
            return f"{first.arm} {sign} {second.arm}"
        if first.arm == second.arm:
            return f"{first.name} {sign} {second.name} of {first.arm}"
        return None

    def holds(self, left: float, right: float) -> bool:
        """Tell whether it holds of two numbers."""
        if self.margin is not None:
            return abs(left - right) <= self.margin
        return compare(left, self.relation, right)


@dataclass(frozen=True)
class Claim:
    """A parsed claim.

    Attributes:
        links: its comparisons.
        test: the sentence.
        some: whether one link that holds is enough; else all must hold.
        every: whether each seed must hold by itself; else their mean.
    """

    links: tuple[Link, ...]
    test: str
    some: bool = False
    every: bool = False

    @functools.cached_property
    def leaves(self) -> list[Leaf]:
        """The parts that read runs."""
        return [leaf for link in self.links for leaf in link.leaves]

    @functools.cached_property
    def arms(self) -> list[str]:
        """The arms it needs, in the order of their appearance."""
        return list(dict.fromkeys(arm for link in self.links for arm in link.arms))

    @functools.cached_property
    def metrics(self) -> list[str]:
        """The final metrics it reads, in the order of their appearance."""
        return list(dict.fromkeys(name for leaf in self.leaves for name in metrics_of(leaf)))


def arms_of(leaf: Leaf) -> tuple[str, ...]:
    """Return the arms that a part reads."""
    return (leaf.arm,) if isinstance(leaf, Metric) else leaf.arms


def metrics_of(leaf: Leaf) -> list[str]:
    """Return the final metrics that a part reads."""
    if isinstance(leaf, Metric):
        return [leaf.name]
    if isinstance(leaf, Extreme):
        return [item.column for item in leaf.where]
    return [leaf.y, leaf.x] if len(leaf.arms) > 1 else []


def _summand(expression: Expression) -> float:
    """Return the number in a sum."""
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Call) and expression.function in ("+", "-", "negative"):
        return _OPERATIONS[expression.function](*map(_summand, expression.arguments))
    if isinstance(expression, Call) and not any(leaves(expression)):
        return evaluate(expression, lambda _: math.nan)
    return 0.0


def _factor(expression: Expression) -> float:
    """Return the number in a product."""
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Call):
        return _OPERATIONS[expression.function](*map(_factor, expression.arguments))
    return 1.0


def _is_product(expression: Expression) -> bool:
    """Tell whether it is made of numbers, reads, products and quotients alone."""
    if isinstance(expression, Call):
        return expression.function in "*/" and all(map(_is_product, expression.arguments))
    return not isinstance(expression, Slope)


def leaves(expression: Expression) -> Iterator[Leaf]:
    """Yield the parts of an expression that read runs."""
    if isinstance(expression, Call):
        for argument in expression.arguments:
            yield from leaves(argument)
    elif not isinstance(expression, Number):
        yield expression


def compare(a: float, relation: str, b: float) -> bool:
    """Tell whether ``a relation b`` holds."""
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "==": a == b}[relation]
