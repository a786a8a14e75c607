"""The pictures of a card and of the book: drawn when they are due, and not again."""

import re
import xml.etree.ElementTree as ET

import pytest

from suexp.report import pictures
from suexp.report.pages import html_report, markdown_report, write_report
from suexp.report.pictures import book, stamp
from tests.support.results_example import evil, example

pytestmark = pytest.mark.slow


def test_a_card_has_its_claims_and_their_seeds(tmp_path):
    results = example()
    write_report(results, tmp_path)
    for name in ("verdicts", "seeds"):
        root = ET.parse(tmp_path / f"{name}.svg").getroot()
        assert root.tag.endswith("svg")
        assert f"]({name}.svg)" in markdown_report(results)
        assert f'id="figure-{name}"' in html_report(results, tmp_path)


def test_it_is_drawn_when_its_numbers_change(tmp_path):
    results = example()
    pictures.write(results, tmp_path)
    path = tmp_path / "verdicts.svg"
    first, written = path.read_bytes(), path.stat().st_mtime_ns
    pictures.write(results, tmp_path)
    assert path.stat().st_mtime_ns == written
    results["claims"][2]["verdict"] = "inconclusive"
    pictures.write(results, tmp_path)
    second = path.read_bytes()
    assert second != first
    path.unlink()
    pictures.write(results, tmp_path)
    assert path.read_bytes() == second  # the same bytes each time


def test_what_has_no_claims_has_no_picture(tmp_path):
    (tmp_path / "verdicts.svg").write_text("of another day")
    write_report(example() | {"claims": []}, tmp_path)
    assert not list(tmp_path.glob("*.svg"))
    assert book([example() | {"claims": []}]) is None


def test_a_picture_that_cannot_be_drawn_costs_nothing_else(tmp_path, monkeypatch):
    from suexp.report import forest

    monkeypatch.setattr(forest, "draw_card", lambda *_: 1 / 0)
    write_report(example(), tmp_path)
    assert (tmp_path / "report.html").is_file()
    assert not (tmp_path / "verdicts.svg").exists()


def test_strange_names_are_data(tmp_path):
    write_report(evil(), tmp_path)
    assert (tmp_path / "verdicts.svg").is_file()
    whole = book([evil(), example()])
    assert whole is not None
    whole.draw(tmp_path / "book.svg")
    text = (tmp_path / "book.svg").read_text()
    assert "<text" not in text
    assert "<script" not in text


def test_the_book_has_every_claim(tmp_path):
    one, other = example(), example(failed=False) | {"experiment": "other"}
    whole = book([one, other])
    assert whole is not None
    assert whole.caption.startswith("All 13 claims of 2 experiments on one scale")
    whole.draw(tmp_path / whole.file)
    assert whole.drawn(tmp_path)
    other["claims"].pop()
    again = book([one, other])
    assert again is not None
    assert not again.drawn(tmp_path)


def test_last_digits_make_no_other_stamp():
    assert stamp([0.1 + 0.2]) == stamp([0.3])
    assert stamp([0.3]) != stamp([0.3001])
    assert re.fullmatch("[0-9a-f]{16}", stamp({"a": (1, None, "b")}))
