"""Slope lines: both sides of each comparison, a line a seed.

The mean and interval of each side hide that the sides share their seeds: two arms may lie within
each other's spread, and one be the better in every seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suexp.errors import UserError
from suexp.judge.expression import Call, Expression, Link, Metric, Number, leaves
from suexp.judge.grammar import parse
from suexp.report.figures import saved
from suexp.report.looks import Look
from suexp.report.theme import FAINT, INK, SOFT, VERDICT_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST, COLUMNS = 12, 3
LONGEST, ONE_LINE = 24, 18  # characters of a side that is written out; of both on one line
DECIDED_FOR = ("reproduced", "no difference that matters")


@dataclass(frozen=True)
class Panel:
    """A comparison.

    Attributes:
        claim, verdict: whose, and what came of it.
        sides: what is compared, in words.
        arms: the arm of each side; None where a side has several, or none.
        metric: what both sides are; None where they differ.
        pairs: left and right, seed by seed.
        holds: whether the claim holds in that seed.
    """

    claim: str
    verdict: str
    sides: tuple[str, str]
    arms: tuple[str | None, str | None]
    metric: str | None
    pairs: tuple[tuple[float, float], ...]
    holds: tuple[bool, ...]


def panels_of(results: Mapping[str, Any]) -> list[Panel]:
    """Return the comparisons of arms over two seeds or more, the claims' in their order.

    Identities, chains of several comparisons, and what reads tables that a record no longer has are
    left out. Of more than `MOST` the failed and the open ones come first.
    """
    found = [panel for claim in results["claims"] if (panel := _panel(claim, results["runs"]))]
    if len(found) > MOST:
        kept = sorted(found, key=lambda panel: panel.verdict in DECIDED_FOR)[:MOST]
        found = [panel for panel in found if panel in kept]
    return found


def _panel(claim: Mapping[str, Any], runs: Sequence[dict[str, Any]]) -> Panel | None:
    from suexp.judge.reading import NotEvaluatedError, seeds_of
    from suexp.judge.sequence import compared

    n = int(claim.get("n") or 0)
    if n < 2 or claim.get("judged") in ("exact", "signs") or claim.get("estimate") is None:
        return None
    try:
        (link,) = parse(str(claim["test"])).links
        if not any(leaves(link.left)) or not any(leaves(link.right)):
            return None
        there = [s for s in seeds_of(runs) if all(s.ran(arm) for arm in link.arms)][:n]
        pairs = tuple(compared(link, there).pairs)
    except (UserError, NotEvaluatedError, ArithmeticError, ValueError):
        return None
    if len(pairs) < 2 or len(set(pairs)) == 1:
        return None
    names = {leaf.name for leaf in link.leaves if isinstance(leaf, Metric)}
    return Panel(
        claim=str(claim["id"]),
        verdict=str(claim["verdict"]),
        sides=_sides(link),
        arms=(_arm(link.left), _arm(link.right)),
        metric=names.pop() if len(names) == 1 else None,
        pairs=pairs,
        holds=tuple(link.holds(a, b) for a, b in pairs),
    )


def _sides(link: Link) -> tuple[str, str]:
    """Return both sides in words: the arms, or of one arm the metrics; else which side it is."""
    read = [leaf for leaf in link.leaves if isinstance(leaf, Metric)]
    by_arm = len({leaf.arm for leaf in read}) > 1 or len({leaf.name for leaf in read}) < 2
    several = len({leaf.name for leaf in read}) > 1 and by_arm
    left, right = _said(link.left, by_arm), _said(link.right, by_arm)
    if several or len(read) < len(link.leaves) or max(map(len, (left, right))) > LONGEST:
        return "left side", "right side"
    return left, right


def _said(expression: Expression, by_arm: bool) -> str:
    if isinstance(expression, Number):
        return f"{expression.value:g}"
    if not isinstance(expression, Call):
        return str(getattr(expression, "arm" if by_arm else "name", "slope"))
    parts = [_said(argument, by_arm) for argument in expression.arguments]
    if expression.function in "*/":
        sums = [isinstance(a, Call) and a.function in "+-" for a in expression.arguments]
        parts = [f"({part})" if sum_ else part for part, sum_ in zip(parts, sums, strict=True)]
    if expression.function in "+-*/":
        sign = {"*": "\N{MULTIPLICATION SIGN}", "-": "\N{MINUS SIGN}"}
        return f" {sign.get(expression.function, expression.function)} ".join(parts)
    return f"{expression.function}({', '.join(parts)})"


def _arm(expression: Expression) -> str | None:
    arms = {leaf.arm for leaf in leaves(expression) if isinstance(leaf, Metric)}
    return arms.pop() if len(arms) == 1 else None


def draw(
    panels: Sequence[Panel], looks: Mapping[str, Look], path: Path, stamp: str | None = None
) -> None:
    """Draw a panel a comparison: a point a seed on each side in the arm's colour, joined."""
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    with saved(path, (max(2.4, 1.87 * columns), 1.6 * lines), stamp) as canvas:
        for place, panel in enumerate(panels):
            _draw_panel(canvas.add_subplot(lines, columns, place + 1), panel, looks)


def _draw_panel(axes: "Axes", panel: Panel, looks: Mapping[str, Look]) -> None:
    from matplotlib.ticker import MaxNLocator

    for pair, holds in zip(panel.pairs, panel.holds, strict=True):
        axes.plot(
            [0, 1], pair, color=SOFT if holds else VERDICT_COLOURS["not reproduced"],
            linewidth=1.0, linestyle="-" if holds else (0, (3, 1.5)),
        )  # fmt: skip
    for side, arm in enumerate(panel.arms):
        look = looks.get(arm or "", Look(INK, "o", "-"))
        values = [pair[side] for pair in panel.pairs]
        axes.plot(
            [side] * len(values), values, color=look.colour, marker=look.marker, markersize=3.8,
            linestyle="none", clip_on=False, zorder=3,
        )  # fmt: skip
    axes.set_xlim(-0.25, 1.25)
    axes.set_xticks([])
    # One line for both names where they fit; else the right one stands lower, and neither is cut.
    lower = 10 * (sum(map(len, panel.sides)) > ONE_LINE)
    for side, (name, drop) in enumerate(zip(panel.sides, (0, lower), strict=True)):
        axes.annotate(
            _plain(name), (side, 0), (0, -4 - drop), xycoords="axes fraction",
            textcoords="offset points", fontsize=7.5, va="top", ha="right" if side else "left",
        )  # fmt: skip
    axes.margins(y=0.12)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(axis="y", labelsize=7, length=0)
    axes.spines["bottom"].set_color(FAINT)
    axes.spines["left"].set_visible(False)
    colour = VERDICT_COLOURS.get(panel.verdict, SOFT)
    name = f"{panel.claim}  {panel.metric}" if panel.metric else panel.claim
    axes.set_title(_plain(name), fontsize=7.5, color=colour, loc="left")


def _plain(text: str) -> str:
    """Return a name without what matplotlib would read as mathematics."""
    return text.replace("$", r"\$")
