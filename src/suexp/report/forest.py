"""Forest plots: all claims of a card, and all of the book, on one scale.

A row a claim: a tick a seed, the interval at the verdict's look, and the verdict by colour, shape
and word. Identities, counts and what has no interval stand in a column of their own.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suexp.judge.claims import BAD, WAITING
from suexp.report.figures import saved
from suexp.report.forest_data import Row
from suexp.report.theme import FAINT, INK, PAPER, SOFT, VERDICT_COLOURS
from suexp.report.verdicts import in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Full where the claim is decided, hollow where it is open.
SHAPES = {
    "verified": "s",
    "reproduced": "o",
    "held in n of n": "D",
    "no difference that matters": "H",
    "not reproduced": "X",
    "inconclusive": "o",
    "not evaluated": "v",
    "undecided": "o",
}
TICKS = (1, 3, 10, 30, 100, 300)
WIDTH = 4.6  # inches: letters that can be read across a phone
FAR = 300.0
LONGEST = 32  # characters of a name


def draw_card(rows: Sequence[Row], path: Path, stamp: str | None = None) -> None:
    """Draw the claims of one experiment, each with its name and its verdict in words."""
    pitch = 0.29
    with saved(path, (WIDTH, pitch * (len(rows) + 1) + 0.75), stamp) as canvas:
        axes = canvas.add_subplot()
        right, column = _frame(axes, rows, words=True)
        for place, row in enumerate(rows):
            _draw_row(axes, row, place, column, height=0.24, size=6.5)
            colour = VERDICT_COLOURS.get(row.verdict, SOFT)
            said = in_words(row.verdict, row.n)
            axes.text(right, place, f"  {said}", color=colour, va="center", fontsize=8.5)
        axes.set_yticks(range(len(rows)), [_plain(row.claim) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -1.1)
        _sides(axes, -0.72)


def draw_book(
    experiments: Mapping[str, Sequence[Row]], path: Path, stamp: str | None = None
) -> None:
    """Draw the claims of all experiments, those of each from the farthest that fails upwards."""
    places, heads, place = [], [], 0.0
    for name, rows in experiments.items():
        place += 3.4
        heads.append((place - 1.7, name, rows))
        for row in sorted(rows, key=_order):
            places.append((place, row))
            place += 1.0
    pitch = 0.062
    every = [row for rows in experiments.values() for row in rows]
    with saved(path, (WIDTH, pitch * (place + 4) + 1.2), stamp) as canvas:
        axes = canvas.add_subplot()
        right, column = _frame(axes, every, words=False)
        left = axes.get_xlim()[0]
        for at, row in places:
            _draw_row(axes, row, at, column, height=0.36, size=3.4)
        for at, name, rows in heads:
            axes.plot([left, right], [at + 0.95] * 2, color=FAINT, linewidth=0.6)
            axes.text(left, at, _plain(name), fontsize=8, va="center", color=INK)
            axes.text(
                right, at, _counted(rows), fontsize=7.5, va="center", ha="right", color=SOFT
            )  # fmt: skip
        axes.set_yticks([])
        axes.set_ylim(place + 0.5, -1.6)
        _sides(axes, -0.2)
        _legend(canvas, every)


def _counted(rows: Sequence[Row]) -> str:
    """Return how many claims failed, are open and hold."""
    failed = sum(row.verdict in BAD for row in rows)
    still = sum(row.verdict in WAITING for row in rows)
    counts = {"failed": failed, "open": still, "hold": len(rows) - failed - still}
    return " · ".join(f"{count} {word}" for word, count in counts.items() if count)


def _order(row: Row) -> tuple[bool, float]:
    """Return the place of a row among its experiment's: what has no distance comes last."""
    return row.mean is None, row.mean or 0.0


def _frame(axes: "Axes", rows: Sequence[Row], words: bool) -> tuple[float, float]:
    """Set up scale, zero, ticks; return the right end and the column of what has no interval."""
    reach = [abs(value) for row in rows for value in _values(row)]
    far = min(FAR, max([3.5, *reach]))
    last = _squeezed(far) + 0.25
    bare = any(row.mean is None for row in rows)
    column = last + 0.62
    right = column + 0.5 if bare else last
    axes.axvspan(0, last, color=VERDICT_COLOURS["reproduced"], alpha=0.055, linewidth=0)
    axes.axvspan(-last, 0, color=VERDICT_COLOURS["not reproduced"], alpha=0.055, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.9)
    shown = [tick for tick in TICKS if tick <= far]
    if len(shown) > 4:  # 1 and 3 stay, and then every other
        shown = [1, *shown[2::2]]
    ticks = [*(-tick for tick in reversed(shown)), 0, *shown]
    marks = [_squeezed(tick) for tick in ticks]
    names = [f"{tick:+d}" if tick else "0" for tick in ticks]
    for mark in marks:
        axes.axvline(mark, color=FAINT, linewidth=0.6, zorder=0.5)
    if bare:
        marks.append(column)
        names.append("no\ninterval")
    axes.set_xticks(marks, [name.replace("-", "\N{MINUS SIGN}") for name in names], fontsize=8)
    axes.set_xlim(-last, right)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel("beyond the bound, in standard deviations of a seed", fontsize=8.5)
    if words:
        axes.tick_params(axis="y", labelsize=9)
    return right, column


def _draw_row(
    axes: "Axes", row: Row, place: float, column: float, height: float, size: float
) -> None:
    colour = VERDICT_COLOURS.get(row.verdict, SOFT)
    hollow = row.verdict in WAITING or (row.mean is None and row.verdict == "verified")
    face = PAPER if hollow else colour
    edge = size / 5
    if row.mean is None:
        axes.plot(
            column, place, marker=SHAPES.get(row.verdict, "o"), markersize=size, color=colour,
            markerfacecolor=face, markeredgewidth=edge, linestyle="none",
        )  # fmt: skip
        return
    axes.vlines(
        [_squeezed(value) for value in row.seeds], place - height, place + height, color=INK,
        linewidth=size / 8, alpha=0.55,
    )  # fmt: skip
    if row.interval is not None:
        ends = [_squeezed(end) for end in row.interval]
        axes.plot(ends, [place, place], color=colour, linewidth=size / 3.4, solid_capstyle="butt")
        for end, value, mark in zip(ends, row.interval, "<>", strict=True):
            if abs(value) > FAR:
                axes.plot(end, place, marker=mark, markersize=size / 1.6, color=colour)
    axes.plot(
        _squeezed(row.mean), place, marker=SHAPES.get(row.verdict, "o"), markersize=size,
        color=colour, markerfacecolor=face, markeredgewidth=edge, linestyle="none", zorder=3,
    )  # fmt: skip


def _sides(axes: "Axes", place: float) -> None:
    """Name the two sides of the bound."""
    for sign, word, verdict in ((-1, "fails", "not reproduced"), (1, "holds", "reproduced")):
        axes.text(
            sign * 0.12, place, word, color=VERDICT_COLOURS[verdict], fontsize=8.5, va="center",
            ha="right" if sign < 0 else "left",
        )  # fmt: skip


def _legend(canvas: Any, rows: Sequence[Row]) -> None:
    from matplotlib.lines import Line2D

    there = [verdict for verdict in SHAPES if any(row.verdict == verdict for row in rows)]
    hollow = (*WAITING, "verified")
    handles = [
        Line2D(
            [], [], linestyle="none", marker=SHAPES[verdict], markersize=5.5,
            color=VERDICT_COLOURS[verdict],
            markerfacecolor=PAPER if verdict in hollow else VERDICT_COLOURS[verdict],
            label=f"{sum(row.verdict == verdict for row in rows)} {verdict}",
        )
        for verdict in there
    ]  # fmt: skip
    canvas.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8.5)


def _values(row: Row) -> list[float]:
    return [] if row.mean is None else [row.mean, *(row.interval or ()), *row.seeds]


def _squeezed(value: float) -> float:
    """Return the place of a distance: even near the bound, then by powers of ten."""
    return math.asinh(max(-FAR, min(FAR, value)) / 1.0)


def _plain(text: Any) -> str:
    """Return a name that is no mathematics to matplotlib, on one line, and not over the edge."""
    line = " ".join(str(text).split())
    return (line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…").replace("$", r"\$")
