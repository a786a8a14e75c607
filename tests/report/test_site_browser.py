"""The site in a real browser: searched, on a phone, in the dark, and with strangers' results."""

import json
from pathlib import Path

import pytest

from tests.report.conftest import SEEN
from tests.report.test_site import counts
from tests.support.browser import Browser
from tests.support.results_example import EVIL

pytestmark = pytest.mark.xdist_group("browser")
TROUBLE = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
LION, SECTOR, LATER, EVE = "lion", "points_in_sector", "later", "eve's #1 & <co>"


def shown(browser: Browser) -> list[str]:
    return browser.evaluate("[...list.children].filter(card => !card.hidden).map(card => card.id)")


def claims(browser: Browser) -> list[str]:
    """The claims that lie open before the reader."""
    query = "[...document.querySelectorAll('.claims > li')].filter(li => li.checkVisibility())"
    return browser.evaluate(f"{query}.map(li => li.innerText.split(/\\s+/).slice(-1)[0])")


def choose(browser: Browser, name: str, value: str) -> None:
    change = f"{name}.dispatchEvent(new Event('change'))"
    browser.evaluate(f"{name}.value = {json.dumps(value)}; {change}")


def quiet(browser: Browser, page: Path) -> None:
    """Check that nothing was complained of, run, or asked of anyone."""
    assert [event for event in browser.events if event["method"] in TROUBLE] == []
    assert "Page.javascriptDialogOpening" not in [event["method"] for event in browser.events]
    asked = [e for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    urls = [event["params"]["request"]["url"] for event in asked]
    assert [url for url in urls if not url.startswith("data:")] == [page.as_uri()]


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["index", LION, EVE])
def test_it_can_be_read_on_every_screen(
    browser: Browser, site: Path, name: str, width: int
) -> None:
    paper = {}
    for scheme in ("light", "dark"):
        page = site / f"{name}.html"
        browser.open(page, width, 800, scheme)
        quiet(browser, page)
        if name == "index":
            browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
        seen = browser.evaluate(SEEN)
        assert seen["scroll"] <= seen["inner"] == width
        assert seen["contrast"] >= 4.5, seen["faintest"]
        paper[scheme] = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(246, 248, 250)", "dark": "rgb(13, 17, 23)"}


def test_the_search_narrows_as_one_types(browser: Browser, site: Path) -> None:
    browser.open(site / "index.html")
    assert shown(browser) == [EVE, LION, SECTOR, LATER]
    assert claims(browser) == []
    browser.type("/")
    assert browser.evaluate("document.activeElement === search")
    browser.type("adamw HURT")
    assert shown(browser) == [LION]
    assert browser.evaluate("found.textContent") == "1 of 4 experiments"
    assert claims(browser) == ["AdamW."]  # the one claim that says so
    assert browser.evaluate("search.value") == "adamw HURT"
    browser.press("Escape")
    assert len(shown(browser)) == 4
    assert claims(browser) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("注意力", [LATER]),
        ("faster", [LATER]),  # written in letters of full width there
        ("optimizer=points", [SECTOR]),
        ("points_in", [SECTOR]),
        ("训练狮 learning", [LION]),
        ("<script>", [EVE]),
        ("nothing of the kind", []),
    ],
)
def test_everything_on_the_index_is_searched(
    browser: Browser, site: Path, words: str, expected: list[str]
) -> None:
    if browser.evaluate("location.pathname.split('/').at(-1)") != "index.html":
        browser.open(site / "index.html")
    browser.evaluate(
        f"search.value = {json.dumps(words)}; search.dispatchEvent(new Event('input'))"
    )
    assert shown(browser) == expected
    assert browser.evaluate("none.checkVisibility()") == (not expected)


def test_verdicts_filter_and_orders_sort(browser: Browser, site: Path) -> None:
    browser.open(site / "index.html")
    choose(browser, "verdict", "not reproduced")
    assert shown(browser) == [LION]
    assert claims(browser) == ["nats)."]
    choose(browser, "verdict", "not run yet")
    assert shown(browser) == [LATER]
    choose(browser, "verdict", "")
    choose(browser, "order", "name")
    assert shown(browser) == [EVE, LATER, LION, SECTOR]
    choose(browser, "order", "share")
    found = {slug: counts(slug) for slug in (LION, SECTOR)}
    share = {slug: n["reproduced"] / sum(n.values()) for slug, n in found.items()}
    share |= {EVE: 3 / 7, LATER: 0.0}
    assert shown(browser) == sorted(share, key=lambda slug: -share[slug])


def test_the_index_is_whole_without_its_script(browser: Browser, site: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(site / "index.html")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    visible = "[...document.querySelectorAll('#experiments > li')].map(e => e.checkVisibility())"
    assert browser.evaluate(visible) == [True] * 4
    assert not browser.evaluate("document.querySelector('#controls').checkVisibility()")


def test_the_keyboard_reaches_everything_and_sees_where_it_is(browser: Browser, site: Path) -> None:
    browser.open(site / "index.html")
    reached = []
    for _ in range(9):
        browser.press("Tab")
        name, outline = browser.evaluate(
            "[document.activeElement.id || document.activeElement.localName,"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert outline == "solid"
        reached.append(name)
    assert reached[:5] == ["a", "a", "search", "verdict", "order"]
    assert "summary" in reached
    fields = "document.querySelectorAll('input, select')"
    assert browser.evaluate(f"[...{fields}].map(field => field.labels.length)") == [1, 1, 1]
    for landmark in ("header", "main", "footer", "[role=search]"):
        assert browser.evaluate(f"document.querySelectorAll('{landmark}').length") == 1


@pytest.mark.parametrize("name", ["index", EVE])
def test_strange_results_are_text(browser: Browser, site: Path, name: str) -> None:
    page = site / f"{name}.html"
    browser.open(page)
    browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    quiet(browser, page)
    found = browser.evaluate(
        """({
          scripts: document.scripts.length,
          images: document.querySelectorAll("img, style ~ style, main meta, foreignObject").length,
          handlers: [...document.querySelectorAll("*")].filter(
            e => [...e.attributes].some(a => a.name.startsWith("on"))).length,
          links: [...document.links].map(a => a.protocol),
          texts: [...document.querySelectorAll("*")].filter(
            e => e.localName !== "title" && e.textContent.includes("drawkcab") && !e.children.length
          ).map(e => e.textContent),
          isolated: [...document.querySelectorAll("a, b, code, span, small, time")].every(
            e => getComputedStyle(e).unicodeBidi === "isolate"),
        })"""
    )
    assert found["scripts"] == (name == "index")
    assert (found["images"], found["handlers"]) == (0, 0)
    assert set(found["links"]) <= {"file:", "https:"}
    assert len(found["texts"]) >= (4 if name == "index" else 40)
    assert sum(EVIL in text for text in found["texts"]) >= 0.7 * len(found["texts"])
    assert found["isolated"]
    if name == EVE:
        drawing = "document.querySelector('#figure-evil svg').getAttribute('aria-label')"
        assert browser.evaluate(drawing) == EVIL
