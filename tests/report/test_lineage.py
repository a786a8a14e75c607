"""What the runs of an experiment start from."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suexp.config.overrides import listed, quoted
from suexp.report.lineage import Origin, graph, lineage, rows
from suexp.report.pages import html_report
from tests.support.results_example import EVIL


def word(*overrides: str) -> str:
    return f"[{','.join(map(quoted, overrides))}]"


TRAINED = ("seed=0", "task=masked_lm", "optimizer.lr=1e-3")
START = f"parent={word(*TRAINED)}"
ARMS = {
    "plain": ["model.dim=8", "callback=leak", START],
    "noise": ["model.dim=8", "callback=leak", START, "method=fgm"],
    "again": [
        "model.dim=8",
        f"parent={word('callback=leak', START, 'method=fgm')}",
        f"++sources.teacher={word('callback=leak', START, 'trainer.max_steps=3')}",
    ],
    "alone": ["model.dim=8", "optimizer=lion"],
}


@given(st.lists(st.text(alphabet='a"\\=[],', max_size=8), max_size=4))
def test_a_list_of_words_comes_back(words: list[str]) -> None:
    assert listed(word(*words)) == words


def test_origins_are_arms_where_their_overrides_are() -> None:
    assert lineage(ARMS) == {
        "plain": [Origin("parent", "task=masked_lm")],
        "noise": [Origin("parent", "task=masked_lm")],
        "again": [
            Origin("parent", "noise"),
            Origin("teacher", "plain", ("trainer.max_steps=3",)),
        ],
        "alone": [],
        "task=masked_lm": [],
    }


def test_what_starts_alike_stands_together() -> None:
    assert rows(lineage(ARMS)) == [
        ("plain, noise", "task=masked_lm"),
        ("again", "noise; teacher: plain with trainer.max_steps=3"),
    ]


def test_runs_that_are_no_arms_have_names_of_their_own() -> None:
    arms = {
        "one": [f"parent={word('task=mlm', 'seed=1')}"],
        "two": [f"parent={word('task=mlm', 'seed=2')}"],
    }
    assert [origins[0].name for origins in list(lineage(arms).values())[:2]] == [
        "task=mlm",
        "task=mlm (2)",
    ]


def test_the_picture_goes_from_left_to_right() -> None:
    found = graph(ARMS)
    assert found is not None
    at = {box.name: box for box in found.boxes}
    assert at["task=masked_lm"].x == at["alone"].x == 0.0
    assert 0 < at["plain"].x == at["noise"].x < at["again"].x
    assert at["plain"].y != at["noise"].y
    assert [arrow.role for arrow in found.arrows] == ["", "", "", "teacher"]
    assert found.width == at["again"].x + at["again"].width
    assert not at["task=masked_lm"].is_arm


@pytest.mark.parametrize("arms", [{}, {"a": ["optimizer=lion"], "b": []}])
def test_where_nothing_starts_from_another_there_is_none(arms: dict[str, list[str]]) -> None:
    assert graph(arms) is None


def test_an_arm_that_starts_from_itself_ends(tmp_path) -> None:
    own = [f"parent={word('optimizer=lion')}", "optimizer=lion"]
    assert graph({"a": ["optimizer=lion"], "b": own}) is not None


def test_the_page_shows_it_and_escapes_names(tmp_path) -> None:
    results = {"experiment": "e", "scale": "laptop", "runs": [], "claims": [], "figures": []}
    arms = {**ARMS, EVIL: ["model.dim=8", f"parent={word(EVIL)}"]}
    page = html_report({**results, "arms": arms}, tmp_path)
    (picture,) = re.findall(r'<figure class="lineage">.*?</figure>', page, re.S)
    assert picture.count("<rect") == 7
    assert "<script" not in picture
    assert ">teacher</text>" in picture
    bare = html_report({**results, "arms": {"a": []}}, tmp_path)
    assert "lineage" not in re.sub(r"<style>.*?</style>", "", bare, flags=re.S)
