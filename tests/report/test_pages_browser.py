"""The report in a real browser: what a reader's eyes and thumbs would meet."""

import io
from html.parser import HTMLParser

import pytest
from PIL import Image

from suexp.report.figures import draw
from suexp.report.pages import write_report
from tests.report.conftest import SEEN
from tests.support.results_example import FIGURES, example, write_histories

pytestmark = pytest.mark.xdist_group("browser")
VERDICTS = [
    ("C1", "verified"),
    ("C2", "inconclusive"),
    ("C3", "reproduced"),
    ("C6", "inconclusive"),
    ("C7", "not evaluated"),
    ("C8", "reproduced"),
    ("C9", "undecided"),
]


class Verdicts(HTMLParser):
    """Reads the text of every cell of table#verdicts."""

    def __init__(self, text):
        super().__init__()
        self.inside, self.rows = False, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.inside = self.inside or (tag, dict(attributes).get("id")) == ("table", "verdicts")
        if self.inside and tag == "tr":
            self.rows.append([])
        if self.inside and tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "table"

    def handle_data(self, data):
        if self.inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("report")
    results = example()
    write_histories(results, path / "runs")
    figures = {**FIGURES, "gone": {"kind": "bar", "y": "nothing", "caption": "A missing one."}}
    results["figures"] = draw(figures, results, path / "runs", path)
    write_report(results, path)
    return path


@pytest.fixture(scope="module", params=["phone light", "phone dark", "desk light", "desk dark"])
def seen(request, folder, browser):
    """What is measured on the page, on two screens and in both colour schemes."""
    screen, scheme = request.param.split()
    width, height = {"phone": (390, 844), "desk": (1280, 900)}[screen]
    browser.open(folder / "report.html", width, height, scheme)
    return browser.evaluate(SEEN) | {"width": width}


@pytest.mark.slow
def test_the_page_itself_never_scrolls_sideways(seen):
    assert seen["inner"] == seen["width"]
    assert seen["scroll"] <= seen["inner"]


@pytest.mark.slow
def test_wide_tables_scroll_inside_their_box(seen):
    widths = [(inside, content) for inside, content in seen["scrollers"] if inside]
    assert all(inside <= seen["inner"] for inside, _ in widths)
    if seen["width"] == 390:
        assert any(content > inside for inside, content in widths)


@pytest.mark.slow
def test_every_figure_is_seen(seen):
    assert len(seen["figures"]) == len(FIGURES)
    for (left, _, width, height), paths in zip(seen["figures"], seen["paths"], strict=True):
        assert width > 250
        assert height > 120
        assert left >= 0
        assert left + width <= seen["inner"]
        assert paths > 20


@pytest.mark.slow
def test_every_verdict_is_seen_with_word_mark_and_interval(seen):
    assert [(id_, verdict) for id_, verdict, *_ in seen["verdicts"]] == VERDICTS
    for *_, left, _, width, height in seen["verdicts"]:
        assert width > 50
        assert height > 10
        assert left + width <= seen["inner"]
    assert set(seen["marks"]) == {'"= "', '"✓ "', '"~ "', '"! "', '"… "'}  # colour is never alone
    assert len(seen["intervals"]) == 4
    assert all(width > 4 for _, _, width, _ in seen["intervals"])


@pytest.mark.slow
def test_text_has_contrast(seen):
    """WCAG's AA for text, in light and dark alike."""
    assert seen["contrast"] >= 4.5


def test_the_page_shows_its_verdicts(folder, browser):
    browser.open(folder / "report.html")
    head, *rows = Verdicts(browser.evaluate("document.documentElement.outerHTML")).rows
    assert head == ["Claim", "Estimate, 95 % interval", "Verdict"]
    assert [(row[0].split()[0], row[2]) for row in rows][:2] == [
        ("C1", "verified"),
        (
            "C2",
            "inconclusive the interval reaches both sides needs about 7 more seeds "
            "(4 min 15 s of runs)",
        ),
    ]
    assert rows[2][1].startswith("lion - lion_adamw_lr = -0.370 [-0.395, -0.344]")
    assert "val/loss[lion] < val/loss[lion_adamw_lr]" in rows[2][0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_painted_in_the_readers_colours(folder, browser, scheme):
    browser.open(folder / "report.html", 1200, 1600, scheme)
    with Image.open(io.BytesIO(browser.picture())) as image:
        corner = image.convert("L").getpixel((2, 2))
        assert len(image.convert("RGB").getcolors(2**24) or []) > 100
    assert corner > 200 if scheme == "light" else corner < 50
