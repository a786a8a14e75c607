"""What the tests of reports share: one browser, one site."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from suexp.folders import experiments_dir
from suexp.report.pages import load_results
from suexp.report.site import Entry, write_site
from tests.support.browser import FOUND, NAMES, Browser
from tests.support.results_example import EVIL, EVIL_SVG, evil

# What a reader's eyes and thumbs would meet on a page.
SEEN = """(() => {
  const box = e => {
    const r = e.getBoundingClientRect();
    return [r.left, r.top, r.width, r.height];
  };
  const all = (query, f) => [...document.querySelectorAll(query)].map(f);
  const luminance = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(v => {
      v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const contrast = e => {
    let under = e;
    const clear = "rgba(0, 0, 0, 0)";
    while (getComputedStyle(under).backgroundColor === clear) under = under.parentElement;
    const [a, b] = [getComputedStyle(e).color, getComputedStyle(under).backgroundColor]
      .map(luminance).sort((x, y) => y - x);
    return (a + .05) / (b + .05);
  };
  const texts = "p, td, th, h1, h2, li, label, output, input, select, summary, b, span, .badge, "
    + "figcaption, small, code, a";
  const contrasts = all(texts, e => [contrast(e), e.outerHTML.slice(0, 80)])
    .sort((a, b) => a[0] - b[0]);
  return {
    inner: innerWidth, scroll: document.documentElement.scrollWidth,
    figures: all("figure:not(.own) svg", box),
    paths: all("figure:not(.own) svg", e => e.querySelectorAll("path, use").length),
    verdicts: all("#verdicts tbody tr", tr => [
      tr.querySelector(".id").textContent, tr.querySelector(".verdict .badge").textContent,
      ...box(tr.querySelector(".verdict .badge"))]),
    marks: all("#verdicts .verdict .badge", e => getComputedStyle(e, "::before").content),
    intervals: all("#verdicts svg.interval .dot", box),
    scrollers: all(".scroll", e => [e.clientWidth, e.scrollWidth]),
    contrast: contrasts[0][0], faintest: contrasts[0][1],
  };
})()"""


# What a careful reader would find wrong with the layout.
LAYOUT = """(() => {
  const style = getComputedStyle;
  const hidden = e => e.closest("thead") && style(e.closest("thead")).clipPath !== "none";
  const clips = e => style(e).overflowX !== "visible" && !e.matches("html, body, .scroll");
  const cut = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode, parent = text.parentElement;
    const elsewhere = parent.closest(".scroll, script, style, option");
    if (!text.data.trim() || hidden(parent) || elsewhere) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    let left = 0, right = innerWidth;
    for (let e = parent; e; e = e.parentElement)
      if (clips(e)) {
        const r = e.getBoundingClientRect();
        left = Math.max(left, r.left);
        right = Math.min(right, r.right);
      }
    for (const r of range.getClientRects())
      if (r.width && (r.left < left - 1 || r.right > right + 1)) cut.push(text.data.slice(0, 60));
  }
  const drawn = [...document.querySelectorAll("figure.own svg")].map(svg => {
    const {x, y, width, height} = svg.viewBox.baseVal;
    const letters = [...svg.querySelectorAll("g")].filter(g => /-text_\\d+$/.test(g.id));
    const outside = letters.filter(g => {
      const b = g.getBBox();
      return b.x < x - 1 || b.y < y - 1 || b.x + b.width > x + width + 1
        || b.y + b.height > y + height + 1;
    });
    const r = svg.getBoundingClientRect();
    const box = [r.left + scrollX, r.top + scrollY, r.width, r.height];
    return {letters: letters.length, outside: outside.map(g => g.id), box,
            letter: Math.min(...letters.map(g => g.getBBox().height)) * r.width / width};
  });
  const boxes = [...document.querySelectorAll(".scroll")].filter(e => e.checkVisibility());
  const tables = boxes.map(e => {
    const r = e.getBoundingClientRect();
    return {goes_on: e.scrollWidth > e.clientWidth + 1,
            said: getComputedStyle(e.querySelector(".more")).display !== "none",
            box: [r.left + scrollX, r.top + scrollY, e.clientWidth, e.clientHeight]};
  });
  return {inner: innerWidth, scroll: document.documentElement.scrollWidth, cut, drawn, tables};
})()"""


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if FOUND is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)}")
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two recorded experiments, one that was never run, and a hostile one."""
    folder, strange = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("strange")
    (strange / "evil.svg").write_text(EVIL_SVG)
    recorded = []
    for slug in ("lion", "points_in_sector"):
        home = experiments_dir() / slug
        recorded.append(Entry(slug, {}, [f"optimizer={slug}"], load_results(home), home, "yours"))
    later = {
        "post": {"title": "A thing to come", "title_zh": "把注意力变快", "date": "2020-01-02"},
        "claims": {"C1": {"text": "It will be ｆａｓｔｅｒ.", "test": "a[b] < 1"}},
    }
    hostile = Entry("eve's #1 & <co>", {}, [EVIL], evil(), strange, EVIL)
    write_site([*recorded, Entry("later", later), hostile], folder)
    return folder
