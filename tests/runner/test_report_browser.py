"""The report in a real browser: what a reader's eyes and thumbs would meet."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from suexp.runner.figures import draw
from suexp.runner.report import write_report
from tests.runner.results_example import FIGURES, example, write_histories

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason=f"no browser: none of {', '.join(BROWSERS)}"),
    pytest.mark.slow,
]

# Runs only in a copy made by this test; the page itself forbids scripts.
PROBE = """
<script>
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
parent.postMessage(JSON.stringify({
  inner: innerWidth, scroll: document.documentElement.scrollWidth,
  figures: all("figure svg", box),
  paths: all("figure svg", e => e.querySelectorAll("path, use").length),
  verdicts: all("#verdicts tbody tr", tr => [
    tr.querySelector(".id").textContent, tr.querySelector(".verdict .badge").textContent,
    ...box(tr.querySelector(".verdict .badge"))]),
  marks: all("#verdicts .verdict .badge", e => getComputedStyle(e, "::before").content),
  intervals: all("#verdicts svg.interval .dot", box),
  scrollers: all(".scroll", e => [e.clientWidth, e.scrollWidth]),
  contrast: Math.min(...all("p, td, th, h1, h2, li, .badge, figcaption, small, code, a", contrast)),
}), "*");
</script>
"""
# A window of the headless browser is at least 500 wide, a frame may be as narrow as a phone.
FRAME = """<!DOCTYPE html><body style="margin:0"><output id="probe"></output><script>
addEventListener("message", event => document.getElementById("probe").textContent = event.data);
</script><iframe src="probed.html" style="border:0;width:{width}px;height:{height}px"></iframe>"""
COLOURS = {
    "light": ["--blink-settings=preferredColorScheme=1"],
    "dark": ["--blink-settings=preferredColorScheme=0"],
}
VERDICTS = [
    ("C1", "reproduced"),
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


def open_page(page, profile, *options):
    """Open a page from disk in a headless browser and return what it prints."""
    quiet = ["disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
    quiet += ["disable-component-update", "disable-sync", "no-sandbox", "hide-scrollbars"]
    command = [
        BROWSER,
        "--headless=new",
        *(f"--{flag}" for flag in quiet),
        "--virtual-time-budget=5000",
        f"--user-data-dir={profile}",
        *options,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


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
def seen(request, folder, tmp_path_factory):
    """What a script measures in a copy of the page, on two screens and in both colour schemes."""
    screen, scheme = request.param.split()
    width, height = {"phone": (390, 844), "desk": (1280, 900)}[screen]
    text = (folder / "report.html").read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    copy = tmp_path_factory.mktemp("copy")
    (copy / "probed.html").write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    frame = copy / "frame.html"
    frame.write_text(FRAME.replace("{width}", str(width)).replace("{height}", str(height)))
    dom = open_page(frame, copy / "profile", *COLOURS[scheme], "--dump-dom")
    found = re.search(r'<output id="probe">(.+?)</output>', dom, re.DOTALL)
    assert found, dom[-500:]
    return json.loads(found[1]) | {"width": width}


def test_the_page_itself_never_scrolls_sideways(seen):
    assert seen["inner"] == seen["width"]
    assert seen["scroll"] <= seen["inner"]


def test_wide_tables_scroll_inside_their_box(seen):
    widths = [(inside, content) for inside, content in seen["scrollers"] if inside]
    assert all(inside <= seen["inner"] for inside, _ in widths)
    if seen["width"] == 390:
        assert any(content > inside for inside, content in widths)


def test_every_figure_is_seen(seen):
    assert len(seen["figures"]) == len(FIGURES)
    for (left, _, width, height), paths in zip(seen["figures"], seen["paths"], strict=True):
        assert width > 250
        assert height > 150
        assert left >= 0
        assert left + width <= seen["inner"]
        assert paths > 20


def test_every_verdict_is_seen_with_word_mark_and_interval(seen):
    assert [(id_, verdict) for id_, verdict, *_ in seen["verdicts"]] == VERDICTS
    for *_, left, _, width, height in seen["verdicts"]:
        assert width > 50
        assert height > 10
        assert left + width <= seen["inner"]
    assert set(seen["marks"]) == {'"✓ "', '"~ "', '"! "', '"… "'}  # colour is never alone
    assert len(seen["intervals"]) == 5
    assert all(width > 4 for _, _, width, _ in seen["intervals"])


def test_text_has_contrast(seen):
    """WCAG's AA for text, in light and dark alike."""
    assert seen["contrast"] >= 4.5


def test_the_untouched_page_shows_its_verdicts(folder, tmp_path):
    dom = open_page(folder / "report.html", tmp_path / "profile", "--dump-dom")
    head, *rows = Verdicts(dom).rows
    assert head == ["Claim", "Estimate, 95 % interval", "Verdict"]
    assert [(row[0].split()[0], row[2]) for row in rows][:2] == [
        ("C1", "reproduced"),
        ("C2", "inconclusive the interval reaches both sides"),
    ]
    assert rows[2][1].startswith("-0.370 [-0.395, -0.344]")
    assert "val/loss[lion] < val/loss[lion_adamw_lr]" in rows[2][0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_painted_in_the_readers_colours(folder, tmp_path, scheme):
    from PIL import Image

    file = tmp_path / "page.png"
    options = ["--window-size=1200,1600", f"--screenshot={file}", *COLOURS[scheme]]
    open_page(folder / "report.html", tmp_path / "profile", *options)
    with Image.open(file) as image:
        corner = image.convert("L").getpixel((2, 2))
        assert len(image.convert("RGB").getcolors(2**24) or []) > 100
    assert corner > 200 if scheme == "light" else corner < 50
