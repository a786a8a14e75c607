"""The kinds of figure, each a function of axes, rows and its definition."""

import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

from suexp.judge.intervals import mean_interval
from suexp.report.figure_data import Row, group
from suexp.report.looks import Look, categories, steps, varied
from suexp.report.scene import Scene
from suexp.report.theme import INK, SOFT
from suexp.report.wording import with_unit

Definition = Mapping[str, Any]
LARGEST = 900.0  # area of the largest circle of a scatter, in square points
SMALLEST = 2.2  # inches of the axes' shorter side


def line(axes: Axes, rows: list[Row], figure: Definition, scene: Scene) -> None:
    """Mean over seeds of y against x for each group, with a band of what the seeds did."""
    x, y, by = str(figure["x"]), str(figure["y"]), figure.get("by", "arm")
    theory, points = figure.get("theory"), bool(figure.get("points"))
    where = _positions(axes, rows, x)
    groups = group(rows, by)
    for label, (colour, marker, dash) in look_of(groups, by, scene).items():
        members, name = groups[label], _text(scene.marked(label, groups[label]))
        at = _by_x(members, x, y, where)
        spread = [_spread(at[position], figure.get("band", "range")) for position in at]
        means = [mean for mean, _, _ in spread]
        low, high = [low for _, low, _ in spread], [high for _, _, high in spread]
        if points:
            bars = [[m - a for m, a in zip(means, low, strict=True)],
                    [b - m for m, b in zip(means, high, strict=True)]]  # fmt: skip
            axes.errorbar(
                list(at), means, bars, fmt=marker, color=colour, label=name, capsize=2,
                elinewidth=1, markersize=4,
            )  # fmt: skip
        else:
            if low != high:
                axes.fill_between(list(at), low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(
                list(at), means, color=colour, label=name, marker=marker, linestyle=dash,
                markevery=max(1, len(at) // 6), markersize=5 if len(at) < 20 else 4,
            )  # fmt: skip
        if theory and any(theory in row for row in members):
            law = _by_x([row for row in members if theory in row], x, theory, where)
            means = [sum(values) / len(values) for values in law.values()]
            axes.plot(list(law), means, color=colour, linestyle="--", linewidth=1.2)
        chosen = [row for row in members if row.get("chosen")]
        for row in chosen:  # the tuned value
            axes.plot(
                where(row[x]), row[y], marker="o", markersize=11, markerfacecolor="none",
                markeredgecolor=colour, markeredgewidth=1.4, linestyle="none", clip_on=False,
            )  # fmt: skip
    if theory:
        axes.plot([], [], color=INK, linestyle="--", linewidth=1.2, label="theory")
    if figure.get("guide") is not None:
        _guide(axes, rows, x, y, float(figure["guide"]))


def bar(axes: Axes, rows: list[Row], figure: Definition, scene: Scene) -> None:
    """A final metric of each group: mean, 95 % interval over seeds, the seeds, what is expected.

    Dots, not bars: a bar says that its length counts, and takes the room from zero for it.
    """
    y, by = str(figure["y"]), figure.get("by", "arm")
    groups = group(rows, by)
    looks, expected = look_of(groups, by, scene), False
    for place, (label, members) in enumerate(groups.items()):
        values = [float(row[y]) for row in members]
        mean, low, high, _ = mean_interval(values)
        colour, marker, _ = looks[label]
        level = scene.level(y, members)
        if level is not None:
            value, tolerance = level
            ends = [value - tolerance, value + tolerance]
            axes.plot(ends, [place + 0.3] * 2, color=SOFT, linewidth=1.2)
            axes.plot(value, place + 0.3, marker="|", color=SOFT, markersize=7)
            expected = True
        if low is not None and high is not None:
            axes.plot([low, high], [place] * 2, color=colour, linewidth=2.4, alpha=0.55)
        axes.plot(
            values, [place] * len(values), linestyle="none", marker="|", markersize=9, color=INK,
            markeredgewidth=0.8, alpha=0.55,
        )  # fmt: skip
        axes.plot(mean, place, marker=marker, markersize=6, color=colour)
    if expected:
        axes.plot([], [], color=SOFT, linewidth=1.2, marker="|", label="expected level")
    names = [_text(scene.marked(label, members)) for label, members in groups.items()]
    axes.set_yticks(range(len(groups)), names)
    axes.set_ylim(len(groups) - 0.45, -0.55)
    axes.margins(x=0.06)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def scatter(axes: Axes, rows: list[Row], figure: Definition, scene: Scene) -> None:
    """One dot a row, a circle of an area where one is named; `theory` is a dashed line."""
    x, y, by = str(figure["x"]), str(figure["y"]), figure.get("by", "arm")
    area = str(figure.get("area", ""))
    most = max((float(row[area]) for row in rows if area in row), default=0.0)
    where, groups = _positions(axes, rows, x), group(rows, by)
    for label, (colour, marker, _) in look_of(groups, by, scene).items():
        xs, ys = [where(row[x]) for row in groups[label]], [row[y] for row in groups[label]]
        axes.plot(
            xs, ys, linestyle="none", marker=marker, markersize=4, color=colour, alpha=0.8,
            label=_text(scene.marked(label, groups[label])),
        )  # fmt: skip
        if most > 0:
            sizes = [LARGEST * max(float(row.get(area, 0.0)), 0.0) / most for row in groups[label]]
            axes.scatter(xs, ys, s=sizes, facecolor=(colour, 0.12), edgecolor=colour, linewidth=0.8)
    theory = figure.get("theory")
    if theory:
        law = _by_x([row for row in rows if theory in row], x, theory, where)
        means = [sum(values) / len(values) for values in law.values()]
        axes.plot(list(law), means, color=INK, linestyle="--", linewidth=1.2, label="theory")
    if most > 0:  # the largest circle, half of which may lie beyond the outermost point
        axes.margins(0.5 * math.sqrt(LARGEST * 4 / math.pi) / 72 / SMALLEST)
    if figure.get("equal"):
        axes.set_aspect("equal")


def hist(axes: Axes, rows: list[Row], figure: Definition, scene: Scene) -> None:
    """Distributions of x as outlines over common bins."""
    x, by = str(figure["x"]), figure.get("by", "arm")
    values = np.array([float(row[x]) for row in rows])
    if figure.get("x_scale") == "log":
        edges = np.geomspace(values.min(), values.max(), int(figure.get("bins", 30)) + 1)
    else:
        edges = np.histogram_bin_edges(values, int(figure.get("bins", 30)))
    groups = group(rows, by)
    for label, (colour, _, dash) in look_of(groups, by, scene).items():
        axes.hist(
            [float(row[x]) for row in groups[label]], bins=edges.tolist(), density=True,
            histtype="stepfilled", facecolor=(colour, 0.15), edgecolor=colour, linewidth=1.4,
            linestyle=dash, label=_text(scene.marked(label, groups[label])),
        )  # fmt: skip


def image(canvas: Figure, rows: list[Row], figure: Definition, scene: Scene) -> None:
    """Z over x (columns) and y (rows) as colours, one panel a group on one scale."""
    x, y, z = str(figure["x"]), str(figure["y"]), str(figure["z"])
    groups = group(rows, figure.get("by", "arm"))
    columns = min(len(groups), 3)
    lines = math.ceil(len(groups) / columns)
    canvas.set_size_inches(4.8, max(2.4, 4.8 / columns * lines + 0.4))
    panels = canvas.subplots(lines, columns, squeeze=False).ravel()
    values = [float(row[z]) for row in rows]
    shown = None
    for panel, (label, members) in zip(panels, groups.items(), strict=False):
        cells: dict[tuple[Any, Any], list[float]] = {}
        for row in members:
            cells.setdefault((row[y], row[x]), []).append(float(row[z]))
        ys, xs = sorted({at[0] for at in cells}), sorted({at[1] for at in cells})
        grid = [[_mean(cells.get((v, u), [math.nan])) for u in xs] for v in ys]
        shown = panel.imshow(grid, vmin=min(values), vmax=max(values), aspect="auto")
        for axis, names, room in (("x", xs, max(2, 6 // columns)), ("y", ys, 6)):
            step = math.ceil(len(names) / room)
            shown_names = [_text(name) for name in names[::step]]
            panel.set(
                **{f"{axis}ticks": range(0, len(names), step), f"{axis}ticklabels": shown_names}
            )
        panel.set_title(_text(scene.marked(label, members)), fontsize=9)
        panel.grid(visible=False)
        panel.set_xlabel(_text(figure.get("x_label") or with_unit(x)))
        panel.set_ylabel(_text(figure.get("y_label") or with_unit(y)))
    for panel in panels[len(groups) :]:
        panel.set_visible(False)
    if shown is not None:
        canvas.colorbar(shown, ax=panels.tolist(), label=_text(with_unit(z)), shrink=0.9)
    untangle(canvas, *panels[: len(groups)])


def finish(canvas: Figure, axes: Axes, figure: Definition) -> None:
    """Scales, limits, labels and the legend, which stands below the axes."""
    flat = figure["kind"] == "bar"  # whose metric lies on the horizontal axis
    shown = {"x": "y" if flat else "x", "y": None if flat else "y"}
    for axis, key in shown.items():
        if key is None:
            continue
        _ticks(axes, axis, figure.get(f"{key}_scale") == "log")
        if figure.get(f"{key}_limits"):
            axes.set(**{f"{axis}lim": tuple(figure[f"{key}_limits"])})
        default = "density" if figure["kind"] == "hist" and key == "y" else key
        named = figure.get(f"{key}_label") or with_unit(str(figure.get(key, default)))
        axes.set(**{f"{axis}label": _text(named)})
    handles, labels = axes.get_legend_handles_labels()
    width, height = canvas.get_size_inches()
    if len(handles) > 1 or (flat and handles):
        order = sorted(range(len(labels)), key=lambda i: labels[i] == "theory")
        columns = max(1, min(4, len(labels), 48 // (max(map(len, labels)) + 6)))
        canvas.legend(
            [handles[i] for i in order], [labels[i] for i in order],
            loc="outside lower center", ncols=columns,
        )  # fmt: skip
        height += 0.2 * (math.ceil(len(labels) / columns) - 1)
    if flat:
        height = 0.85 + 0.3 * len(axes.get_yticks()) + 0.25 * (len(handles) > 0)
    canvas.set_size_inches(width, height)
    untangle(canvas, axes)


def untangle(canvas: Figure, *panels: Axes) -> None:
    """Tilt names that run into each other, and leave out numbers that do."""
    canvas.draw_without_rendering()  # only now it is known where they stand
    for axes in panels:
        for axis in (axes.xaxis, axes.yaxis):
            there = [
                (tick.get_loc(), tick.label1) for tick in axis.get_major_ticks()
                if tick.label1.get_text() and tick.label1.get_visible()
            ]  # fmt: skip
            kept = _apart([text.get_window_extent() for _, text in there], axis is axes.xaxis)
            if len(kept) == len(there):
                continue
            if axis is axes.xaxis and not _numeric([text.get_text() for _, text in there]):
                axes.tick_params(axis="x", labelrotation=35)
                for _, text in there:
                    text.set(ha="right", rotation_mode="anchor")
            else:
                places = [float(there[i][0]) for i in kept]
                axis.set_ticks(places, [there[i][1].get_text() for i in kept])


def _apart(boxes: list[Any], along_x: bool) -> list[int]:
    """Return which boxes to keep so that none touches the last one kept."""
    spans = [(box.x0, box.x1) if along_x else (box.y0, box.y1) for box in boxes]
    kept: list[int] = []
    for i in sorted(range(len(spans)), key=lambda i: spans[i]):
        if not kept or spans[i][0] > spans[kept[-1]][1] + 2:
            kept.append(i)
    return sorted(kept)


def _numeric(names: list[str]) -> bool:
    return all(re.match(r"[-\u2212]?[\d.$]", name.strip("\u200a")) for name in names)


def _ticks(axes: Axes, axis: str, log: bool) -> None:
    """Plain numbers where they fit: the few x that were measured; 2M instead of 2 and 1e6."""
    scale = axes.xaxis if axis == "x" else axes.yaxis
    if not log:
        if max(map(abs, scale.get_view_interval())) >= 1e5:
            scale.set_major_formatter(EngFormatter(sep=""))
        return
    axes.set(**{f"{axis}scale": "log"})
    low, high = axes.get_xlim() if axis == "x" else axes.get_ylim()
    if high / low < 300:  # plain numbers; powers of ten would be one or two
        subs = (1.0, 2.0, 5.0) if high / low > 8 else range(1, 10)
        scale.set_major_locator(LogLocator(subs=subs, numticks=99))
        scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        scale.set_minor_locator(NullLocator())
    if axis == "y":
        return
    measured = sorted(
        {float(x) for line in axes.lines for x in np.asarray(line.get_xdata()) if x > 0}
    )
    if not 2 <= len(measured) <= 9:
        return
    room, kept = math.log(measured[-1] / measured[0]) / 12, [measured[0]]
    kept += [b for a, b in itertools.pairwise(measured) if math.log(b / a) > room]
    axes.set_xticks(kept, [f"{x:g}" for x in kept])
    axes.set_xticks([], minor=True)


def _positions(axes: Axes, rows: list[Row], x: str) -> Any:
    """Return the map from a value of x to its place: itself for numbers, else its rank."""
    if not any(isinstance(row[x], str) for row in rows):
        return float
    names = list(dict.fromkeys(str(row[x]) for row in rows))
    axes.set_xticks(range(len(names)), [_text(name) for name in names])
    return lambda value: float(names.index(str(value)))


def _by_x(rows: list[Row], x: str, y: str, where: Any) -> dict[float, list[float]]:
    at: dict[float, list[float]] = {}
    for row in rows:
        at.setdefault(where(row[x]), []).append(float(row[y]))
    return dict(sorted(at.items()))


def _spread(values: list[float], band: str) -> tuple[float, float, float]:
    mean = _mean(values)
    if band == "range":
        return mean, min(values), max(values)
    if band == "interval":
        _, low, high, _ = mean_interval(values)
        return mean, mean if low is None else low, mean if high is None else high
    return mean, mean, mean


def _guide(axes: Axes, rows: list[Row], x: str, y: str, slope: float) -> None:
    """A grey power law of a known slope, a little above the data."""
    points = [(float(row[x]), float(row[y])) for row in rows if row[x] > 0 and row[y] > 0]
    if not points:
        return
    left, right = min(points)[0], max(points)[0]
    scale = max(v / u**slope for u, v in points) * 1.3
    axes.plot(
        [left, right], [scale * left**slope, scale * right**slope], color=INK, linestyle=":",
        linewidth=1.2, label=f"slope {slope:g}",
    )  # fmt: skip


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _text(text: Any) -> str:
    """Names are data: a dollar in them is no mathematics, an underscore in front hides nothing."""
    return (
        f"\u200a{text}".replace("$", r"\$")
        if str(text)[:1] == "_"
        else str(text).replace("$", r"\$")
    )


def look_of(groups: Mapping[str, list[Row]], by: str | list[str], scene: Scene) -> dict[str, Look]:
    """Give each group its look: an arm's own one, which it has in all figures of a report.

    What is grouped by numbers gets steps of one scale, anything else colours far apart. Groups of
    one arm share its colour, in other styles.
    """
    columns = [by] if isinstance(by, str) else by
    firsts = [members[0] for members in groups.values()]
    if "arm" in columns and all(row["arm"] in scene.looks for row in firsts):
        found, used = {}, dict[str, int]()
        for label, row in zip(groups, firsts, strict=True):
            arm = row["arm"]
            found[label] = varied(scene.looks, arm, used.get(arm, 0))
            used[arm] = used.get(arm, 0) + 1
        return found
    values = [row.get(columns[0]) if len(columns) == 1 else None for row in firsts]
    numbers = len(groups) > 2 and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    return dict(zip(groups, (steps if numbers else categories)(len(groups)), strict=True))
