"""The line under the post's sentence, and the badges on it."""

import pytest

from suexp.report.found import doubts, found
from suexp.report.pages import html_report, markdown_report
from suexp.report.verdicts import judged
from suexp.report.view import view
from tests.support.results_example import example

RECORD = {
    "text": "It is so.", "test": "a[x] < 1", "relation": "<", "judged": "difference", "n": 3,
    "quantity": "a of x", "bound": 1.0, "margin": None, "estimate": 2.0, "interval": [1.5, 2.5],
}  # fmt: skip


def records(*verdicts: str) -> list[dict]:
    return [RECORD | {"id": f"C{i}", "verdict": v} for i, v in enumerate(verdicts, 1)]


@pytest.mark.parametrize(
    ("verdicts", "counts"),
    [
        (["reproduced"], "1 of 1 claim holds"),
        (["reproduced", "held in n of n"], "2 of 2 claims hold"),
        (["verified"], "1 of 1 claim holds (by identity)"),
        (["verified", "reproduced"], "2 of 2 claims hold (1 of them by identity)"),
        (["not reproduced"], "0 of 1 claim hold, 1 fails"),
        (["not reproduced", "no difference that matters"], "0 of 2 claims hold, 2 fail"),
        (["inconclusive", "reproduced"], "1 of 2 claims holds, 1 is open"),
        (["inconclusive", "undecided", "not evaluated"], "0 of 3 claims hold, 3 are open"),
    ],
)
def test_verdicts_are_counted(verdicts, counts):
    given = records(*verdicts)
    line = found([judged(record) for record in given], given)
    assert line.counts == counts


def test_failures_are_told_with_their_numbers():
    given = records(*["not reproduced"] * 5)
    line = found([judged(record) for record in given], given)
    assert line.failed[0] == ("It is so", "C1", "a of x = 2.00 [1.50, 2.50], allowed < 1")
    assert ([name for _, name, _ in line.failed], line.more) == (["C1", "C2", "C3"], ["C4", "C5"])


def test_open_claims_need_the_seeds_of_the_hardest_and_the_time_of_all():
    given = records("inconclusive", "inconclusive", "inconclusive")
    given[0]["needs"], given[1]["needs"] = ({"seeds": 4, "seconds": 60}, {"seeds": 9, "seconds": 1})
    line = found([judged(record) for record in given], given)
    assert line.needs == "about 9 more seeds (1 min 1 s of runs)"
    assert line.open == ["C1", "C2", "C3"]


def test_no_claim_is_no_line():
    assert found([], []) is None
    assert doubts([]) == []


def test_what_holds_bears_no_badge():
    told = [judged(r) for r in records("reproduced", "verified", "held in n of n")]
    assert doubts(told) == []


def test_a_badge_a_doubt():
    told = [judged(r) for r in records("not reproduced", "inconclusive", "inconclusive")]
    assert [(b.verdict, b.label, b.claims) for b in doubts(told)] == [
        ("not reproduced", "1 of 3 not reproduced", ["C1"]),
        ("inconclusive", "2 of 3 open", ["C2", "C3"]),
    ]


def test_card_and_page_say_it_under_the_sentence(tmp_path):
    results = example(failed=False)
    (failing,) = (claim for claim in results["claims"] if claim["id"] == "C3")
    failing["verdict"] = "not reproduced"
    page, card = html_report(results, tmp_path), markdown_report(results).replace("\\", "")
    numbers = "lion - lion_adamw_lr = -0.370 [-0.395, -0.344]"
    for text in (page, card):
        assert "2 of 6 claims hold (1 of them by identity), 1 fails, 3 are open" in text
        assert "about 7 more seeds (4 min 15 s of runs)" in text
    assert f"C3 fails: “{failing['text']}”; {numbers}, allowed < 0." in card.replace("&lt;", "<")
    assert "> ❌ **1 of 6 not reproduced** (C3) · ➖ **2 of 6 open** (C2, C6)" in card
    assert '<a href="#claim-C3">C3</a> fails: “' in page
    assert '<span class="badge not-reproduced">1 of 6 not reproduced</span>' in page
    at = [page.index(x) for x in ('class="claim"', 'class="doubts"', 'class="found"', "<main>")]
    assert at == sorted(at)


def test_smoke_finds_nothing(tmp_path):
    results = example(failed=False) | {"scale": "smoke"}
    assert view(results).found is None
    assert "Found:" not in html_report(results, tmp_path) + markdown_report(results)
