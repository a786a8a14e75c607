"""A number that depends on the step."""

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

from suexp.near import near

Kind = Literal["constant", "linear", "cosine"]
# What a config may say where a component makes a `Ramp` of it.
Number = float | int | dict[str, float | int | str]

KEYS = ("start", "end", "steps", "kind")
_TYPES = (
    ("start", float | int, "a number"),
    ("end", float | int, "a number"),
    ("steps", int, "a whole number"),
)


class Ramp:
    r"""$v(t) = a + (b - a) f(\min(t / s, 1))$ at the step t = 0, 1, ...

    With f(p) = p (linear), $(1 - \cos \pi p) / 2$ (cosine), or 0 below p = 1 (constant: a step from
    a to b at t = s). From s on it is b, exactly.

    It is a function of the step alone, so that all processes and a resumed run agree on it: give it
    ``task.global_step``. The cosine is that of Loshchilov and Hutter, SGDR, arXiv:1608.03983.

    Example:
        >>> rate = ramp({"start": 0.0, "end": 0.5, "steps": 100}, "rate", low=0, high=1)
        >>> rate(0), rate(50), rate(1000)
        (0.0, 0.25, 0.5)
        >>> ramp(0.3, "rate")(7)
        0.3

    Args:
        start: a.
        end: b.
        steps: s, as many as the run's own; 0: it is b from the first step on.
        kind: the way from a to b.

    Raises:
        ValueError: a value that is not finite, a negative number of steps.
    """

    def __init__(
        self, start: float | int, end: float | int, steps: int, kind: Kind = "linear"
    ) -> None:
        for name, value in (("start", start), ("end", end)):
            if not math.isfinite(value):
                raise ValueError(f"{name} must be finite, not {value}")
        if steps < 0:
            raise ValueError(f"steps must be at least 0, not {steps}")
        self.start, self.end, self.steps, self.kind = float(start), float(end), steps, kind

    def __call__(self, step: int) -> float:
        """Return the value at a step."""
        if step >= self.steps:
            return self.end
        progress = step / self.steps
        if self.kind == "constant":
            progress = 0.0
        elif self.kind == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        return self.start + (self.end - self.start) * progress

    def __repr__(self) -> str:
        if self.start == self.end:
            return f"{self.end:g}"
        return f"Ramp({self.start:g}, {self.end:g}, {self.steps}, {self.kind!r})"


def ramp(value: Number, name: str, low: float = -math.inf, high: float = math.inf) -> Ramp:
    """Return what a config says of a number that may depend on the step.

    Args:
        value: a number, which stays as it is, or ``{start: a, end: b, steps: s}``, to which
            ``kind`` may be added.
        name: the argument, for messages.
        low: the least value that it may take.
        high: the largest.

    Raises:
        ValueError: what makes no ramp or is out of bounds, in one line that names the argument.
    """
    said: dict[str, Any] = (
        dict(value) if isinstance(value, Mapping) else {"start": value, "end": value, "steps": 0}
    )
    for key in said:
        if key not in KEYS:
            raise ValueError(f"{name} has no {key!r}{near(key, KEYS)}")
    for key, kinds, what in _TYPES:
        if key not in said:
            raise ValueError(f"{name} needs {key}: {{start: 0, end: 1, steps: 100}}, say")
        if isinstance(said[key], bool) or not isinstance(said[key], kinds):
            raise ValueError(f"{name}: {key} must be {what}, not {said[key]!r}")
    if said.get("kind", "linear") not in get_args(Kind):
        raise ValueError(f"{name}: kind is one of {', '.join(get_args(Kind))}, not {said['kind']}")
    try:
        found = Ramp(**said)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    for bound in (found.start, found.end):
        if not low <= bound <= high:
            limits = f"in [{low:g}, {high:g}]" if high < math.inf else f"at least {low:g}"
            raise ValueError(f"{name} must be {limits}, not {bound:g}")
    return found
