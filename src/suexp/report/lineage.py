"""What the runs of an experiment start from: its arms, and the runs that they need, as a graph."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from suexp.config.overrides import key_of, listed

# Of the picture, in its own units.
LETTER, ROW, GAP, PAD = 7.2, 34.0, 90.0, 9.0
LONGEST = 36


@dataclass(frozen=True)
class Origin:
    """A run that another one needs.

    Attributes:
        role: ``parent``, whose weights it starts from, or a source's name.
        name: an arm, or what is known of a run that is none.
        changes: overrides that it has beside those of the arm.
    """

    role: str
    name: str
    changes: tuple[str, ...] = ()

    def __str__(self) -> str:
        changed = f" with {' '.join(self.changes)}" if self.changes else ""
        return f"{'' if self.role == 'parent' else f'{self.role}: '}{self.name}{changed}"


Lineage = dict[str, list[Origin]]


def lineage(arms: Mapping[str, Sequence[str]]) -> Lineage:
    """Return the runs that each run needs, as its overrides say; the arms first, in order.

    Args:
        arms: arm -> overrides, with what all arms begin with or without.
    """
    alike = itertools.takewhile(lambda items: len({*items}) == 1, zip(*arms.values(), strict=False))
    shared = sum(1 for _ in alike)
    known: dict[tuple[str, ...], str] = {}
    for arm, items in arms.items():
        for start in range(min(shared, len(items)) + 1):
            known.setdefault(tuple(items[start:]), arm)
    found: Lineage = {}
    unnamed: dict[tuple[str, ...], str] = {}

    def follow(name: str, overrides: Sequence[str]) -> None:
        found[name] = []
        for role, theirs in _needed(overrides):
            arm, changes = _arm_of(theirs, known, name)
            if arm is None:
                label = unnamed.setdefault(theirs, _described(theirs, [*arms, *unnamed.values()]))
                found[name].append(Origin(role, label))
                if label not in found:
                    follow(label, theirs)
            else:
                found[name].append(Origin(role, arm, changes))

    for arm in arms:
        found[arm] = []
    for arm, items in arms.items():
        follow(arm, items)
    return found


def _needed(overrides: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give the other runs that overrides name; of two for one role the last counts."""
    roles: dict[str, tuple[str, ...]] = {}
    for item in overrides:
        key, _, value = item.partition("=")
        if key.startswith("~"):
            continue
        name = key_of(item)
        if name == "parent" or name.startswith("sources."):
            roles[name.removeprefix("sources.")] = tuple(listed(value))
    yield from ((role, theirs) for role, theirs in roles.items() if theirs)


def _arm_of(
    overrides: tuple[str, ...], known: Mapping[tuple[str, ...], str], asking: str
) -> tuple[str | None, tuple[str, ...]]:
    """Return the arm whose overrides these begin with, and those that come then."""
    for end in range(len(overrides), 0, -1):
        arm = known.get(overrides[:end])
        if arm is not None and arm != asking:
            return arm, overrides[end:]
    return None, ()


def _described(overrides: Sequence[str], taken: Sequence[str]) -> str:
    """Return the first choices of a run that is no arm, in a form that no other one has."""
    chosen = [item for item in overrides if re.match(r"(?!seed=)[a-z_/]+=[\w,]+$", item)]
    label = " ".join(chosen[:2] or overrides[:1])
    number = next(n for n in range(1, len(taken) + 2) if _numbered(label, n) not in taken)
    return _numbered(label, number)


def _numbered(label: str, number: int) -> str:
    return label if number == 1 else f"{label} ({number})"


def rows(found: Lineage) -> list[tuple[str, str]]:
    """Return (runs, what they start from), those that start alike together."""
    together: dict[str, list[str]] = {}
    for name, needed in found.items():
        if needed:
            together.setdefault("; ".join(map(str, needed)), []).append(name)
    return [(", ".join(names), told) for told, names in together.items()]


@dataclass(frozen=True)
class Box:
    """A run in the picture."""

    x: float
    y: float
    width: float
    label: str
    name: str
    is_arm: bool


@dataclass(frozen=True)
class Arrow:
    """That a run starts from another, or needs it: a path, and what is written at its middle."""

    path: str
    role: str
    x: float
    y: float


@dataclass(frozen=True)
class Graph:
    """A picture: runs from left to right, each behind all that it needs."""

    width: float
    height: float
    boxes: list[Box]
    arrows: list[Arrow]


def graph(arms: Mapping[str, Sequence[str]]) -> Graph | None:
    """Return the picture of an experiment's runs; None where none needs another."""
    found = lineage(arms)
    if not any(found.values()):
        return None
    depths: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in depths:
            depths[name] = 0  # whatever a file says, it ends
            depths[name] = max((1 + depth(origin.name) for origin in found[name]), default=0)
        return depths[name]

    columns: dict[int, list[str]] = {}
    for name in found:
        columns.setdefault(depth(name), []).append(name)
    boxes: dict[str, Box] = {}
    left = 0.0
    for place in sorted(columns):
        names = columns[place]
        # Beside what they start from, as far as that is in one order.
        names.sort(key=lambda name: min((boxes[o.name].y for o in found[name]), default=0.0))
        labels = [_cut(name) for name in names]
        width = max(map(len, labels)) * LETTER + 2 * PAD
        for row, (name, label) in enumerate(zip(names, labels, strict=True)):
            boxes[name] = Box(round(left, 1), row * ROW, round(width, 1), label, name, name in arms)
        left += width + GAP
    arrows = [
        _arrow(boxes[origin.name], boxes[name], origin.role)
        for name, needed in found.items()
        for origin in needed
    ]
    height = ROW * max(map(len, columns.values()))
    return Graph(round(left - GAP, 1), height, list(boxes.values()), arrows)


def _arrow(start: Box, end: Box, role: str) -> Arrow:
    x, y = round(start.x + start.width, 1), start.y + ROW / 2
    to, ending = end.x, end.y + ROW / 2
    middle = round((x + to) / 2, 1)
    path = f"M{x} {y}C{middle} {y} {middle} {ending} {to} {ending}"
    return Arrow(path, "" if role == "parent" else role, middle, (y + ending) / 2)


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
