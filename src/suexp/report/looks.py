"""One look for each arm of a report: a colour, a marker and a line style, in all of its figures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from suexp.report.theme import CATEGORIES, DASHES, MARKERS, ORDERED


class Look(NamedTuple):
    """How a group is drawn."""

    colour: str
    marker: str
    dash: Any


def looks(arms: Sequence[str], together: Iterable[Sequence[str]] = ()) -> dict[str, Look]:
    """Return a look for each arm, no two the same.

    Beyond as many arms as there are colours, a colour comes again with another marker and line
    style; arms that a figure shows together take different ones where that can be.

    Args:
        arms: all arms of a report, in order.
        together: the arms of each figure.

    >>> [look.colour for look in looks(["a", "b", "a2"], [["a", "b"], ["a", "a2"]]).values()]
    ['#0072b2', '#d55e00', '#009e73']
    """
    beside: dict[str, set[str]] = {arm: set() for arm in arms}
    for group in together:
        for arm in group:
            beside.setdefault(arm, set()).update(set(group) - {arm})
    palette, found, used = list(CATEGORIES), dict[str, Look](), dict[str, int]()
    waiting = list(arms)
    while waiting:
        arm = waiting[0]
        if len(arms) > len(palette):  # the one with the least choice is next (Brélaz, 1979)
            taken = {a: {found[other].colour for other in beside[a] & set(found)} for a in waiting}
            arm = max(waiting, key=lambda a: (len(taken[a]), len(beside[a])))
        waiting.remove(arm)
        near = [found[other].colour for other in sorted(beside[arm]) if other in found]
        colour = min(palette, key=lambda c: (near.count(c), used.get(c, 0), palette.index(c)))
        found[arm] = _styled(colour, palette.index(colour), used.get(colour, 0))
        used[colour] = used.get(colour, 0) + 1
    return {arm: found[arm] for arm in arms}


def categories(count: int) -> list[Look]:
    """Return looks of groups that are no arms: colours far apart, then again in another style."""
    palette = list(CATEGORIES)
    return [
        _styled(palette[i % len(palette)], i % len(palette), i // len(palette))
        for i in range(count)
    ]


def steps(count: int) -> list[Look]:
    """Return looks of numbers, in their order: steps of one scale."""
    palette, used, found = list(ORDERED), dict[int, int](), []
    for i in range(count):
        place = round(i * (len(palette) - 1) / max(1, count - 1))
        found.append(_styled(palette[place], place, used.get(place, 0)))
        used[place] = used.get(place, 0) + 1
    return found


def varied(looks_: Mapping[str, Look], arm: str, place: int) -> Look:
    """Return an arm's look in another style: its colour stays."""
    colour, marker, dash = looks_[arm]
    if place == 0:
        return looks_[arm]
    at = (MARKERS.index(marker) + place) % len(MARKERS)
    return Look(colour, MARKERS[at], DASHES[(DASHES.index(dash) + place) % len(DASHES)])


def _styled(colour: str, place: int, again: int) -> Look:
    """Return a colour with the marker of its place, moved on each time that the colour returns."""
    return Look(colour, MARKERS[(place + 3 * again) % len(MARKERS)], DASHES[again % len(DASHES)])
