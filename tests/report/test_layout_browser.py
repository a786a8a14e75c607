"""A card and the book on a desk and on a phone, measured and looked at in a real browser."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from suexp.report.theme import JUDGED, VERDICT_COLOURS
from tests.report.conftest import LAYOUT
from tests.support.browser import Browser

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]
SCREENS = {"phone": (390, 844), "desk": (1280, 900)}


@pytest.fixture(
    scope="module", params=[(p, s) for p in ("lion", "index") for s in SCREENS], ids=str
)
def screen(request: pytest.FixtureRequest, site: Path, browser: Browser) -> Any:
    """One page on one screen: what is measured, and its picture."""
    page, name = request.param
    browser.open(site / f"{page}.html", *SCREENS[name])
    seen = browser.evaluate(LAYOUT)
    return {"page": page, "width": SCREENS[name][0], **seen, "picture": pictured(browser)}


def pictured(browser: Browser) -> Image.Image:
    """Return the whole page as it is painted."""
    return Image.open(io.BytesIO(browser.picture(whole=True))).convert("RGB")


def colours(picture: Image.Image, box: list[float]) -> set[str]:
    """Return the colours of a part of a picture."""
    left, top, width, height = map(round, box)
    part = picture.crop((left, top, left + width, top + height))
    return {"#{:02x}{:02x}{:02x}".format(*pixel) for _, pixel in part.getcolors(2**24) or []}


def shaded(picture: Image.Image, box: list[float]) -> float:
    """Return how much of the right side of a box is darker than the paper."""
    left, top, width, height = map(round, box)
    side = picture.convert("L").crop(
        (left + width - 4, top + 4, left + width - 2, top + height - 4)
    )
    return sum(side.histogram()[:245]) / (side.width * side.height)


def test_nothing_is_cut_and_the_page_does_not_scroll_sideways(screen: Any) -> None:
    assert screen["scroll"] <= screen["inner"] == screen["width"]
    assert screen["cut"] == []


def test_the_forest_plot_is_seen(screen: Any) -> None:
    forest = screen["drawn"][0]
    left, _, width, height = forest["box"]
    assert width > 300
    assert height > 150
    assert left >= 0
    assert left + width <= screen["width"]
    seen = colours(screen["picture"], forest["box"])
    assert {VERDICT_COLOURS[v] for v in ("reproduced", "not reproduced", "inconclusive")} <= seen


def test_letters_of_our_pictures_are_whole_and_large_enough(screen: Any) -> None:
    assert len(screen["drawn"]) == (2 if screen["page"] == "lion" else 1)
    for drawing in screen["drawn"]:
        assert drawing["letters"] > 5
        assert drawing["outside"] == []
        assert drawing["letter"] > 3.5  # the least of them, an x without ascender


def test_what_goes_on_beside_the_screen_says_so(screen: Any) -> None:
    tables = screen["tables"]
    assert [table["said"] for table in tables] == [table["goes_on"] for table in tables]
    if screen["page"] == "index":
        assert tables == []
        return
    assert any(table["goes_on"] for table in tables)
    for table in tables:
        share = shaded(screen["picture"], table["box"])
        assert share > 0.9 if table["goes_on"] else share < 0.5


def test_the_shade_goes_where_the_table_ends(site: Path, browser: Browser) -> None:
    browser.open(site / "lion.html", *SCREENS["phone"])
    place = "document.querySelector('.scroll:has(table.arms)')"
    browser.evaluate(f"{place}.scrollLeft = 1e6")
    top = browser.evaluate(f"{place}.getBoundingClientRect().top + scrollY")
    (table,) = (t for t in browser.evaluate(LAYOUT)["tables"] if t["box"][1] == top)
    assert table["goes_on"]
    assert table["said"]
    assert shaded(pictured(browser), table["box"]) < 0.5  # its letters alone


@pytest.mark.parametrize("name", SCREENS)
def test_a_strangers_card_is_whole_too(site: Path, browser: Browser, name: str) -> None:
    browser.open(site / "eve's #1 & <co>.html", *SCREENS[name])
    seen = browser.evaluate(LAYOUT)
    assert seen["scroll"] <= seen["inner"]
    assert seen["cut"] == []


def test_in_the_dark_the_verdicts_have_their_sisters(site: Path, browser: Browser) -> None:
    browser.open(site / "index.html", *SCREENS["desk"], scheme="dark")
    box = browser.evaluate(LAYOUT)["drawn"][0]["box"]
    seen = colours(pictured(browser), box)
    for verdict in ("reproduced", "not reproduced", "inconclusive"):
        light = VERDICT_COLOURS[verdict]
        assert JUDGED[light] in seen
        assert light not in seen
