"""Figures: the same bytes each time, drawn from what is there, refused in words before any run."""

import json
import re
import signal
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from suexp.errors import UserError
from suexp.report.figure_data import NothingToDrawError, group, rows_of
from suexp.report.figures import check_figures, draw, saved
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
