"""Figures: the same bytes each time, drawn from what is there, refused in words before any run."""

import itertools
import json
import math
import re
import signal
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from suexp.errors import UserError
from suexp.report.figure_data import NothingToDrawError, group, rows_of
from suexp.report.figures import check_figures, draw, saved
from suexp.report.scene import scene
from tests.support.results_example import FIGURES, example, write_histories

EVERY_KIND = {
    **FIGURES,
    "slope": {
        "kind": "line",
        "from": "table",
        "x": "m",
        "y": "mse",
        "by": "kernel",
        "arms": ["adamw"],
        "x_scale": "log",
        "y_scale": "log",
        "band": "interval",
        "guide": -1,
    },
    "tuned": {"kind": "tuning", "arms": ["adamw", "lion"], "x_scale": "log"},
    "categories": {"kind": "line", "from": "table", "x": "kernel", "y": "mse", "band": "none"},
    "cloud": {"kind": "scatter", "x": "cost/parameters", "y": "val/loss", "equal": True},
    "law": {"kind": "scatter", "from": "table", "x": "angle", "y": "p", "theory": "law", "by": "n"},
    "spread": {"kind": "hist", "from": "table", "table": "sector", "x": "p"},
    "logs": {"kind": "hist", "from": "table", "x": "mse", "x_scale": "log", "bins": 9},
    "map": {"kind": "image", "from": "table", "x": "angle", "y": "n", "z": "p"},
    "names": {"kind": "image", "from": "table", "x": "m", "y": "kernel", "z": "mse"},
}


@pytest.fixture
def results(tmp_path):
    results = example()
    write_histories(results, tmp_path / "runs")
    return results


def drawn(tmp_path, results, figures):
    return {item["name"]: item for item in draw(figures, results, tmp_path / "runs", tmp_path)}


@pytest.mark.slow
def test_every_kind_is_drawn_as_sound_svg(tmp_path, results):
    for name, item in drawn(tmp_path, results, EVERY_KIND).items():
        assert item["file"] == f"figures/{name}.svg", item["caption"]
        root = ET.parse(tmp_path / item["file"]).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        text = (tmp_path / item["file"]).read_text(encoding="utf-8")
        assert "<text" not in text  # letters are paths: no font is needed
        assert "nan" not in re.sub(r"[\w-]*nan[\w-]+", "", text.lower())


@pytest.mark.slow
def test_same_results_give_the_same_bytes(tmp_path, results):
    first = drawn(tmp_path, results, EVERY_KIND)
    bytes_of = {name: (tmp_path / item["file"]).read_bytes() for name, item in first.items()}
    drawn(tmp_path, results, EVERY_KIND)
    for name, item in first.items():
        assert (tmp_path / item["file"]).read_bytes() == bytes_of[name]
        assert b"2026" not in bytes_of[name]  # no date


@pytest.mark.slow
def test_a_users_matplotlib_settings_change_nothing(tmp_path, results):
    import matplotlib as mpl

    drawn(tmp_path, results, FIGURES)
    before = (tmp_path / "figures" / "final.svg").read_bytes()
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        drawn(tmp_path, results, FIGURES)
        assert mpl.rcParams["font.size"] == 30
    assert (tmp_path / "figures" / "final.svg").read_bytes() == before


def test_history_takes_the_last_line_of_a_repeated_step(tmp_path, results):
    rows, _ = rows_of({"from": "history", "x": "step", "y": "val/loss"}, results, tmp_path / "runs")
    values = [row["val/loss"] for row in rows if row["step"] == 100]
    assert len(values) == 12  # four finished arms of three seeds
    assert max(values) < 10


def test_history_counts_operations(tmp_path, results):
    figure = {"from": "history", "x": "cost/flops", "y": "val/loss", "arms": ["adamw"]}
    with pytest.raises(NothingToDrawError, match="no run recorded cost/flops"):
        rows_of(figure, results, tmp_path / "runs")
    for run in results["runs"]:  # 100 steps of a parent, then its own
        run["cost"] |= {"flops": (run["cost"]["steps"] + 100) * 5, "flops_per_step": 5}
    rows, _ = rows_of(figure, results, tmp_path / "runs")
    assert {row["cost/flops"] - 5 * row["step"] for row in rows} == {500}


def test_rows_know_their_arm_and_seed_and_obey_where(tmp_path, results):
    figure = {
        "from": "table",
        "x": "m",
        "y": "mse",
        "where": {"kernel": "trig", "m": [16, 64]},
        "arms": ["lion", "adamw"],
    }
    rows, notes = rows_of(figure, results, tmp_path)
    assert {(row["arm"], row["seed"]) for row in rows} == {
        (arm, seed) for arm in ("adamw", "lion") for seed in (0, 1, 2)
    }
    assert {(row["kernel"], row["m"]) for row in rows} == {("trig", 16), ("trig", 64)}
    assert notes == []


def test_tuning_rows_mark_the_chosen_value(tmp_path, results):
    rows, notes = rows_of({"from": "tuning", "x": "value", "y": "metric"}, results, tmp_path)
    assert {row["arm"]: row["optimizer.lr"] for row in rows if row["chosen"]} == {
        "adamw": 3e-3,
        "lion": 1e-3,
        "signum": 1e-3,
    }
    assert notes == ["without 1 point that cannot be drawn (NaN, infinite)"]


def test_a_tuning_figure_is_a_line_from_tuning(tmp_path, results):
    both = {"a": {"kind": "tuning"}, "b": {"kind": "line", "from": "tuning"}}
    items = drawn(tmp_path, results, both)
    a, b = ((tmp_path / items[name]["file"]).read_bytes() for name in "ab")
    assert a == b


def test_groups_keep_the_order_of_arms_and_sort_numbers():
    rows = [{"arm": arm, "n": n} for arm in ("zeta", "alpha") for n in (8, 2, 12)]
    assert list(group(rows, "arm")) == ["zeta", "alpha"]
    assert list(group(rows, "n")) == ["n = 2", "n = 8", "n = 12"]
    assert next(iter(group(rows, ["arm", "n"]))) == "zeta, n = 8"


def test_failed_runs_are_named_in_the_caption(tmp_path, results):
    caption = drawn(tmp_path, results, FIGURES)["curves"]["caption"]
    assert caption.endswith("best seed. (Without lion_wild seed 0, 1, 2, which failed.)")


@pytest.mark.parametrize(
    ("figure", "reason"),
    [
        ({"kind": "bar", "y": "val/los"}, "Not drawn: no run recorded val/los"),
        ({"kind": "hist", "from": "table", "table": "none", "x": "a"}, "no run recorded a"),
        ({"kind": "bar", "y": "val/loss", "arms": ["lion_wild"]}, "lion_wild seed 0, 1, 2, which"),
        ({"kind": "bar", "y": "val/loss", "where": {"arm": "x"}}, "no run has data for it"),
        ({"kind": "bar", "y": "val/loss", "y_limits": "oops"}, "Not drawn: "),
    ],
)
def test_what_cannot_be_drawn_says_so_and_leaves_no_stale_file(tmp_path, results, figure, reason):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "it.svg").write_text("stale")
    items = drawn(
        tmp_path, results, {"it": {**figure, "caption": "Words."}, "final": FIGURES["final"]}
    )
    assert items["it"]["file"] is None
    assert items["it"]["caption"].startswith("Words. (")
    assert reason in items["it"]["caption"]
    assert "\n" not in items["it"]["caption"]
    assert not (tmp_path / "figures" / "it.svg").exists()
    assert items["final"]["file"] == "figures/final.svg"


def test_no_tuning_is_no_data(results, tmp_path):
    results["tuning"] = None
    with pytest.raises(NothingToDrawError, match="no run recorded value"):
        rows_of({"from": "tuning", "x": "value", "y": "metric"}, results, tmp_path)


def test_strange_names_are_data(tmp_path, results):
    text = json.dumps(results).replace('"lion"', '"_a$b$ <i> 狮"')
    items = drawn(tmp_path, json.loads(text), FIGURES)
    assert all(item["file"] for item in items.values())


def test_an_unreadable_history_does_not_stop_the_others(tmp_path, results):
    for run in results["runs"]:
        (tmp_path / "runs" / run["id"] / "metrics.jsonl").write_text("[1]\n")
    items = drawn(tmp_path, results, FIGURES)
    assert items["curves"]["file"] is None
    assert items["final"]["file"] is not None


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ({"kind": "lines"}, r"figures\.it has no kind 'lines'; did you mean line\?"),
        ("line", r"figures\.it has no kind 'line'"),
        ({"kind": "line", "xscale": "log"}, r"no key 'xscale'; did you mean x_scale\?"),
        ({"kind": "line", "from": "tabel"}, r"no source 'tabel'; did you mean table\?"),
        ({"kind": "line", "x": "a"}, r"a line needs y"),
        ({"kind": "bar", "y": "a", "arms": ["loin"]}, r"unknown arm 'loin'; did you mean lion\?"),
    ],
)
def test_mistakes_are_refused_before_any_run(figure, message):
    with pytest.raises(UserError, match=message):
        check_figures({"it": figure}, ["adamw", "lion"])


def test_sound_definitions_pass(results):
    check_figures(EVERY_KIND, results["arms"])


@pytest.mark.parametrize("name", ["verdicts", "seeds"])
def test_a_figure_takes_no_name_of_the_card_s_own(name):
    with pytest.raises(UserError, match="every card has a picture of that name"):
        check_figures({name: {"kind": "bar", "y": "val/loss"}}, [])


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", "/x", "a\n"])
def test_a_figure_s_name_is_a_file_s_in_its_folder(name):
    with pytest.raises(UserError, match="a figure's file has its name"):
        check_figures({name: {"kind": "bar", "y": "val/loss"}}, [])


def test_a_figure_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """A kill in the middle leaves the old one, and the next report draws over what is left."""
    from matplotlib.figure import Figure

    path = tmp_path / "curves.svg"
    path.write_text("the old one")

    def half(self, file, **_):
        if isinstance(file, Path):
            file.write_bytes(b"<svg")
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", half)
        with pytest.raises(KeyboardInterrupt), saved(path, (1, 1)):
            pass
    assert path.read_text() == "the old one"
    (tmp_path / "curves.svg.part").write_bytes(b"<svg")  # of one that was killed
    with saved(path, (1, 1)):
        pass
    assert ET.parse(path).getroot().tag.endswith("svg")
    assert [found.name for found in tmp_path.iterdir()] == ["curves.svg"]


# What a reader sees -------------------------------------------------------------------------------


@pytest.fixture
def axes(results, tmp_path):
    """Draw one figure and return its axes, laid out."""
    from suexp.report import figures

    def made(figure, **changed):
        with figures.saved(tmp_path / "it.svg", (4.8, 3.4)) as canvas:
            from suexp.report import plots

            rows, _ = rows_of(figure, results | changed, tmp_path / "runs")
            panel = canvas.add_subplot()
            shared = scene(results | changed, {"it": figure})
            getattr(plots, figure["kind"])(panel, rows, figure, shared)
            plots.finish(canvas, panel, figure)
            canvas.draw_without_rendering()
        return panel

    return made


def test_a_bar_s_dots_do_not_begin_at_zero(axes):
    panel = axes({"kind": "bar", "y": "val/loss"})
    low, high = panel.get_xlim()
    assert 1.4 < low < high < 2.3
    assert [text.get_text() for text in panel.get_yticklabels()] == [
        *("adamw", "lion", "lion_adamw_lr", "signum")
    ]


def test_the_expected_level_stands_beside_ours(axes):
    level = {"quantity": "val/loss[lion]", "value": 1.6, "tolerance": 0.05}
    panel = axes({"kind": "bar", "y": "val/loss"}, levels=[level])
    spans = [[round(float(x), 6) for x in line.get_xdata()] for line in panel.lines]
    assert [1.55, 1.65] in spans
    assert "expected level" in [line.get_label() for line in panel.lines]
    bare = axes({"kind": "bar", "y": "val/bits_per_byte"}, levels=[level])  # of another metric
    assert "expected level" not in [line.get_label() for line in bare.lines]


def test_arms_on_an_edge_are_marked(tmp_path, results):
    results["tuning"]["edge"] = {"lion": ["optimizer.lr"]}
    items = drawn(tmp_path, results, {"final": FIGURES["final"], "curves": FIGURES["curves"]})
    for item in items.values():
        assert item["caption"].endswith("; † tuned to the edge of its grid.)")
    elsewhere = drawn(tmp_path, results, {"curves": FIGURES["curves"] | {"arms": ["adamw"]}})
    assert "†" not in elsewhere["curves"]["caption"]


def test_an_arm_has_one_colour_in_every_figure(axes, results):
    looks = scene(results).looks
    for arms in (["adamw", "lion", "signum"], ["signum", "lion"], ["signum"]):
        panel = axes({"kind": "line", "from": "history", "x": "step", "y": "val/loss",
                      "arms": arms})  # fmt: skip
        drawn_in = {line.get_label(): line.get_color() for line in panel.lines}
        assert drawn_in == {arm: looks[arm].colour for arm in arms}


def test_no_circle_is_clipped(axes):
    panel = axes({"kind": "scatter", "x": "cost/wall_seconds", "y": "val/loss", "area": "steps"})
    for circles in panel.collections:
        radius = math.sqrt(max(circles.get_sizes()) / math.pi) / 72 * panel.figure.dpi
        for x, y in panel.transData.transform(circles.get_offsets()):
            assert panel.bbox.x0 <= x - radius
            assert x + radius <= panel.bbox.x1
            assert panel.bbox.y0 <= y - radius
            assert y + radius <= panel.bbox.y1


@pytest.mark.parametrize(
    "figure",
    [
        {"kind": "scatter", "x": "cost/wall_seconds", "y": "val/loss", "x_scale": "log"},
        {"kind": "line", "from": "table", "x": "word", "y": "v"},
        {"kind": "line", "from": "table", "x": "near", "y": "v", "x_scale": "log"},
        {"kind": "line", "from": "table", "x": "far", "y": "v", "x_scale": "log"},
    ],
)
def test_ticks_do_not_run_into_each_other(axes, results, figure):
    rows = [
        {"word": f"a_rather_long_name_{i}", "near": 10 + i, "far": 10.0**i, "v": i}
        for i in range(1, 9)
    ]
    for run in results["runs"]:
        run["tables"] = {"t": rows}
    panel = axes(figure)
    labels = [label for label in panel.get_xticklabels() if label.get_text()]
    assert len(labels) >= 2
    if figure["x"] == "word":
        assert {label.get_rotation() for label in labels} == {35.0}
        return
    spans = sorted((b.x0, b.x1) for b in (label.get_window_extent() for label in labels))
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))


def test_units_stand_where_the_name_tells_them(axes):
    panel = axes({"kind": "scatter", "x": "cost/wall_seconds", "y": "cost/peak_memory_bytes"})
    assert panel.get_xlabel() == "cost/wall_seconds (s)"
    assert panel.get_ylabel() == "cost/peak_memory_bytes (bytes)"
