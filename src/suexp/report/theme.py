"""Colours and type of the figures, for a light page and a dark one."""

from typing import Any

# Okabe and Ito's colours, which most kinds of colour blindness tell apart, and steps of viridis for
# numbers. Each has a sister on a dark page, where the report exchanges them.
INK, FAINT, PAPER = "#24292f", "#d0d7de", "#ffffff"
CATEGORIES = {
    "#0072b2": "#56a8e0",
    "#d55e00": "#ff8b3d",
    "#009e73": "#2fc79a",
    "#cc79a7": "#e39cc4",
    "#e69f00": "#f2b632",
    "#56b4e9": "#9bd7ff",
    "#7f7f7f": "#a8a8a8",
    "#8c510a": "#c98f52",
}
ORDERED = {
    "#440154": "#f1e51d",
    "#482878": "#b5de2b",
    "#3e4989": "#7ad151",
    "#306a8e": "#48c16e",
    "#24868e": "#26ad81",
    "#20a386": "#1f978b",
    "#44bf70": "#26828e",
    "#86d549": "#3a7fa3",
}
# A verdict's colours are those of the page (templates/report.css), light and dark.
VERDICT_COLOURS = {
    "verified": "#1a7f37",
    "reproduced": "#1a7f37",
    "held in n of n": "#1a7f37",
    "no difference that matters": "#0969da",
    "not reproduced": "#c4232d",
    "inconclusive": "#7d5200",
    "not evaluated": "#6a3fb5",
    "undecided": "#59636e",
}
SOFT = "#59636e"
JUDGED = {
    "#1a7f37": "#56d364",
    "#0969da": "#79c0ff",
    "#c4232d": "#ff8f88",
    "#7d5200": "#e9b949",
    "#6a3fb5": "#c8a9ff",
    SOFT: "#adb7c2",
}
MARKERS = "osD^vPX*"
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1.2)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (9, 3)),
)
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "suexp",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
}
