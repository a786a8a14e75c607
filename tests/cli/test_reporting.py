"""``suexp report``: one experiment's report, or the site of all."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.results_example import example

Call = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.usefixtures("tree")


def keep(folder: Path, **more: Any) -> None:
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(example(failed=False) | more))


def test_the_site_shows_the_last_results_and_what_was_never_run(call: Call, in_tmp: Path) -> None:
    keep(in_tmp / "experiments/lion", created="2026-03-01", commit="aaaaaaaaaaaa")
    keep(in_tmp / "outputs/own/laptop", experiment="own")
    keep(in_tmp / "outputs/odd/laptop,optimizer.lr=1", experiment="odd")  # not as it is written
    code, out, err = call("report")
    assert (code, err) == (0, "")
    assert out == "3 experiments, 1 not run yet\nsite: outputs/site/index.html\n"
    index = (in_tmp / "outputs/site/index.html").read_text()
    assert "suexp experiment=performer" in index
    assert "<code>attention=performer</code>" in index  # what it chooses
    assert "<span>recorded</span>" in index
    assert "<span>outputs/own/laptop</span>" in index
    assert not (in_tmp / "outputs/site/performer.html").exists()

    keep(in_tmp / "outputs/lion/laptop", created="2026-02-01", commit="bbbbbbbbbbbb")
    assert call("report", "--into", "there")[1].endswith("site: there/index.html\n")
    assert "bbbbbbbbbbbb" in (in_tmp / "there/lion.html").read_text()  # one's own before ours


def test_results_that_cannot_be_read_stop_nothing(call: Call, in_tmp: Path) -> None:
    keep(in_tmp / "experiments/lion", schema=3)
    code, out, _ = call("report", "--out", "mine")
    assert code == 0
    assert "left out: " in out
    assert "has schema 3, this version reads up to 2" in out
    assert out.endswith("2 experiments, 2 not run yet\nsite: mine/site/index.html\n")


def test_a_folder_is_reported_where_it_lies(call: Call, in_tmp: Path) -> None:
    keep(in_tmp / "outputs/lion/laptop")
    folder = Path("outputs/lion/laptop")
    assert call("report", f"{folder}/results.json") == (0, f"report: {folder}/report.html\n", "")
    assert "Lion" in (folder / "report.html").read_text()
    assert "All experiments" not in (folder / "report.html").read_text()
    mistake = "suexp: report outputs/lion/laptop: --out and --into are the site's; leave out DIR\n"
    assert call("report", str(folder), "--into", "there") == (2, "", mistake)


def test_a_site_that_cannot_be_written_is_one_line(call: Call, in_tmp: Path) -> None:
    (in_tmp / "taken").write_text("")
    code, _, err = call("report", "--into", "taken")
    assert (code, err) == (2, f"suexp: report: cannot write to taken: {os.strerror(17)}\n")
