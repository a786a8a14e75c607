"""Figures of an experiment as SVG files: the same results give the same bytes.

    curves: {kind: line, from: history, x: step, y: val/loss, by: arm, caption: "..."}

=======  ===========================================================================================
line     y against x, one line for each `by`, mean over seeds with a band (`band: range | interval
         | none`); `theory: column` is drawn dashed, `points: true` shows dots with error bars
         instead of lines, `guide: -0.5` adds the slope of a power law
bar      a final metric y of each arm: a dot at the mean, 95 % interval, the seeds, the level that
         the experiment expects
scatter  y against x, one dot a row; `area: column` draws circles of that area around them
hist     distribution of x
image    z over x and y, one panel for each `by`
tuning   the tuned metric against the tuned value, the chosen one ringed (a line from: tuning)
=======  ===========================================================================================

`from` is history (with a column `cost/flops`: all operations so far, the parents' included), table,
tuning or final; `where: {column: value}` and `arms: [...]` choose rows. An arm has one colour,
marker and line style in all figures of a report; one tuned to the edge of its grid is marked.
"""

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suexp.errors import UserError
from suexp.near import near
from suexp.report.figure_data import SOURCES, NothingToDrawError, rows_of
from suexp.report.scene import EDGE_NOTE, Scene, scene
from suexp.report.theme import PAPER, STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMMON = (
    *("kind", "from", "table", "x", "y", "by", "arms", "where", "caption"),
    *("x_scale", "y_scale", "x_label", "y_label", "x_limits", "y_limits"),
)
OWN = {
    "line": ("band", "theory", "points", "guide"),
    "bar": (),
    "scatter": ("theory", "equal", "area"),
    "hist": ("bins",),
    "image": ("z",),
    "tuning": ("band",),
}
TAKEN = ("verdicts", "seeds")  # report/pictures.py
NEEDED = {"line": "xy", "bar": "y", "scatter": "xy", "hist": "x", "image": "xyz", "tuning": ""}


def check_figures(figures: Mapping[str, Any], arms: Iterable[str]) -> None:
    """Check the definitions of figures before any run.

    Raises:
        UserError: an unknown kind, key, source or arm, with the near match, a missing column, or a
            name that is none of a file.
    """
    arms = list(arms)
    for name, figure in figures.items():
        where = f"figures.{name}"
        if not re.fullmatch(r"\w[\w.-]*", str(name)):
            raise UserError(f"{where}: a figure's file has its name: letters, digits, _, - and .")
        if name in TAKEN:
            raise UserError(f"{where}: every card has a picture of that name; call it otherwise")
        if not isinstance(figure, Mapping) or figure.get("kind") not in OWN:
            kind = str(figure.get("kind")) if isinstance(figure, Mapping) else str(figure)
            raise UserError(f"{where} has no kind {kind!r}{near(kind, list(OWN))}")
        kind = str(figure["kind"])
        for key in figure:
            if key not in (*COMMON, *OWN[kind]):
                hint = near(str(key), [*COMMON, *OWN[kind]])
                raise UserError(f"{where}: a {kind} has no key {key!r}{hint}")
        source = str(figure.get("from", "final"))
        if source not in SOURCES:
            raise UserError(f"{where}: there is no source {source!r}{near(source, list(SOURCES))}")
        for column in NEEDED[kind]:
            if not figure.get(column) and source != "tuning":
                raise UserError(f"{where}: a {kind} needs {column}: the name of a column")
        for arm in figure.get("arms") or []:
            if arm not in arms:
                raise UserError(f"{where} names an unknown arm {arm!r}{near(str(arm), arms)}")


def draw(
    figures: dict[str, dict[str, Any]], results: dict[str, Any], runs_dir: Path, out: Path
) -> list[dict[str, Any]]:
    """Draw every figure; one that cannot be drawn says so in its caption and stops nothing.

    Args:
        figures: name -> definition.
        results: results.json; its `figures` are not read.
        runs_dir: where the runs' folders stand, for their histories.
        out: the experiment's folder; the SVG files go to its figures/.

    Returns:
        name, file (relative to `out`; None when not drawn) and caption of each.
    """
    (out / "figures").mkdir(parents=True, exist_ok=True)
    shared, drawn = scene(results, figures), []
    for name, figure in figures.items():
        path = out / "figures" / f"{name}.svg"
        path.unlink(missing_ok=True)  # an older one must not pass for this one
        caption = str(figure.get("caption") or name)
        file = None
        try:
            notes = draw_one(figure, results, runs_dir, path, shared)
            file = f"figures/{path.name}"
        except NothingToDrawError as reason:
            notes = [f"not drawn: {reason}"]
        except Exception as error:  # a picture is never worth the results of a night
            notes = [f"not drawn: {type(error).__name__}: {' '.join(str(error).split())}"]
        if notes:
            note = "; ".join(notes)
            caption = f"{caption.rstrip()} ({note[0].upper()}{note[1:]}.)"
        drawn.append({"name": name, "file": file, "caption": caption})
    return drawn


def draw_one(
    figure: dict[str, Any], results: dict[str, Any], runs_dir: Path, path: Path, shared: Scene
) -> list[str]:
    """Draw one figure and return the notes for its caption.

    Raises:
        NothingToDrawError: there is no data for it.
    """
    from suexp.report import plots

    figure = dict(figure)
    if figure["kind"] == "tuning":
        figure |= {"kind": "line", "from": "tuning"}
    if figure.get("from") == "tuning":
        defaults = {"x": "value", "y": "metric", "x_scale": "log"}
        tuning = results.get("tuning") or {}
        labels = {"x_label": tuning.get("parameter"), "y_label": tuning.get("metric")}
        figure = defaults | labels | figure
    rows, notes = rows_of(figure, results, runs_dir)
    with saved(path, (4.8, 3.4)) as canvas:
        kind = str(figure["kind"])
        if kind == "image":
            plots.image(canvas, rows, figure, shared)
        else:
            axes = canvas.add_subplot()
            getattr(plots, kind)(axes, rows, figure, shared)
            plots.finish(canvas, axes, figure)
    by = figure.get("by", "arm")
    if "arm" in ([by] if isinstance(by, str) else by) and shared.edge & {r["arm"] for r in rows}:
        notes.append(EDGE_NOTE)
    return notes


@contextmanager
def saved(path: Path, inches: tuple[float, float], stamp: str | None = None) -> Iterator["Figure"]:
    """Give an empty figure in the project's style, and write it as SVG once it is drawn.

    Args:
        path: where to.
        inches: width and height.
        stamp: a name of what it shows, which is written into the file.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from suexp.store.folder import write_whole  # Hydra, which checking a figure never needs

    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # the user's own matplotlibrc must not change the picture
        mpl.rcParams.update(STYLE)
        warnings.simplefilter("ignore")  # a glyph that the font lacks, an axis without extent
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
        canvas = Figure(figsize=inches, layout=layout, facecolor=PAPER)
        FigureCanvasSVG(canvas)
        yield canvas
        drawn = io.BytesIO()
        metadata = {"Date": None, "Creator": "suexp", "Identifier": stamp}
        canvas.savefig(drawn, format="svg", metadata=metadata)
        write_whole(path, drawn.getbuffer())
