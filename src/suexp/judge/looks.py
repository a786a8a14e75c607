"""When one looks at the runs of an experiment, and how many seeds that asks for."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LOOKS = (3, 5, 8, 12, 20, 32, 50)


def looks(at_most: int | None) -> list[int]:
    """Return at how many seeds one looks; ``at_most`` is the last, None: further and further.

    >>> looks(10)
    [3, 5, 8, 10]
    """
    if at_most is None:
        further = (round(LOOKS[-1] * 1.6**power) for power in itertools.count(1))
        return [*LOOKS, *itertools.takewhile(lambda n: n < 10**4, further)]
    return [*(n for n in LOOKS if n < at_most), at_most]


@dataclass(frozen=True)
class Seeding:
    """Which seeds an experiment runs: these, or 0, 1, 2, ... until its claims are decided.

    Attributes:
        fixed: the seeds of a list; None: seeds are added look by look.
        at_most: the last look; None: there is none.
        budget: seconds that all runs may take, one after the other, those that they start from
            included; None: no bound.
    """

    fixed: tuple[int, ...] | None = None
    at_most: int | None = None
    budget: float | None = None

    @classmethod
    def of(cls, said: Sequence[int] | Mapping[str, Any]) -> "Seeding":
        """Return what ``seeds:`` of an experiment says.

        >>> Seeding.of({"until": "decided", "at_most": 8, "budget": "30m"})
        Seeding(fixed=None, at_most=8, budget=1800.0)
        """
        if not isinstance(said, Mapping):
            return cls(tuple(said))
        budget = said.get("budget")
        return cls(None, said.get("at_most"), None if budget is None else seconds(str(budget)))

    @property
    def looks(self) -> list[int]:
        """At how many seeds one looks."""
        return [len(self.fixed)] if self.fixed is not None else looks(self.at_most)

    def seeds(self, count: int) -> tuple[int, ...]:
        """Return the first seeds."""
        return tuple(range(count)) if self.fixed is None else self.fixed[:count]

    def __str__(self) -> str:
        """Return the plan in words; the budget is no part of it, since any end leaves it valid."""
        if self.fixed is not None:
            return ", ".join(map(str, self.fixed))
        return "until decided" + ("" if self.at_most is None else f", at most {self.at_most}")


def seconds(text: str) -> float:
    """Return a time span in seconds.

    >>> seconds("90s"), seconds("30m"), seconds("1.5h")
    (90.0, 1800.0, 5400.0)

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text)
    if not found or float(found[1]) <= 0:
        raise ValueError(f"a time is a number and s, m or h, as in 30m; found {text}")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
