"""The site over all experiments, as files."""

import base64
import functools
import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from suexp.cli.site import entries
from suexp.config.catalogue import Catalogue
from suexp.errors import UserError
from suexp.folders import experiments_dir
from suexp.judge.claims import VERDICTS
from suexp.report.pages import load_results
from suexp.report.site import Entry, write_site
from suexp.report.wording import total_time
from tests.report.test_pages import Page
from tests.support.results_example import EVIL, example

PAGES = ["eve's #1 & <co>.html", "lion.html", "points_in_sector.html"]


@functools.cache
def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_there_is_an_index_and_a_page_for_each_that_was_run(site: Path) -> None:
    assert sorted(path.name for path in site.iterdir()) == sorted(
        ["book.svg", "index.html", *PAGES]
    )


@pytest.mark.parametrize("name", ["index.html", *PAGES])
def test_links_lead_somewhere_and_nothing_is_loaded(site: Path, name: str) -> None:
    page = read(site / name)
    links = [element["href"] for _, element in page.seen if "href" in element]
    inside = [link for link in links if not re.match(r"https?://", link)]
    for link in inside:
        file, _, anchor = link.partition("#")
        target = read(site / unquote(file)) if file else page
        if anchor:
            assert unquote(anchor) in [element.get("id") for _, element in target.seen], link
    assert len(inside) >= (10 if name == "index.html" else 2)
    for tag in ("link", "iframe", "object", "embed", "base"):
        assert page.elements(tag) == []
    assert not [element for _, element in page.seen if "src" in element or "srcset" in element]
    assert not re.search(r"@import|url\((?!#)", page.text["style", None])


def test_only_the_index_runs_a_script_and_only_its_own(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (e["content"] for e in Page(text).elements("meta") if "http-equiv" in e)
    assert policy.split("; ") == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        f"script-src 'sha256-{digest}'",
    ]
    for name in PAGES:
        assert read(site / name).elements("script") == []


def counts(slug: str) -> dict[str, int]:
    """The recorded verdicts, in the order in which they are shown."""
    found = Counter(claim["verdict"] for claim in load_results(experiments_dir() / slug)["claims"])
    return {verdict: found[verdict] for verdict in VERDICTS if found[verdict]}


def test_the_index_says_what_there_is(site: Path) -> None:
    lion, sector = counts("lion"), counts("points_in_sector")
    runs = load_results(experiments_dir() / "lion")["runs"]
    page = read(site / "index.html")
    text = re.sub(r"\s+", " ", page.text["body", None])
    for words in (
        "4 experiments, 18 claims judged",
        f"{lion['reproduced'] + sector['reproduced'] + 2} reproduced",
        "Google's searched optimizer Lion",
        "post of 2023-02-16",
        " ".join(f"{count} {verdict}" for verdict, count in lion.items()),
        f"{total_time(runs)} at scale laptop, yours",
        "not run yet suexp experiment=later",
        "Small batches hurt Lion more than AdamW.",
        "optimizer=lion",
    ):
        assert words in text, words
    chinese = [attributes for attributes in page.elements("p") if attributes.get("lang") == "zh"]
    assert len(chinese) == 4
    widths = [e["style"] for _, e in page.seen if "flex-grow" in e.get("style", "")]
    own = [f"flex-grow: {count}" for found in (lion, sector) for count in found.values()]
    assert widths[-len(own) :] == own
    assert EVIL.replace("\n", " ") in text


def test_pages_lead_to_the_index_and_to_their_neighbours(site: Path) -> None:
    """The newest post first; what was never run has no page."""
    chain = [PAGES[0], "lion.html", "points_in_sector.html"]
    for i, name in enumerate(chain):
        links = read(site / name).elements("a")
        assert "index.html" in [link["href"] for link in links]
        beside = {link["rel"]: unquote(link["href"]) for link in links if "rel" in link}
        expected = {"prev": chain[i - 1] if i else None, "next": (*chain, None)[i + 1]}
        assert beside == {key: value for key, value in expected.items() if value}
    assert "suexp experiment=lion" in (site / "lion.html").read_text(encoding="utf-8")


def test_the_same_results_give_the_same_site_and_leave_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine.html").write_text("mine")
    entries = [Entry("b", {}, results=example(failed=False)), Entry("a", {})]
    index = write_site(entries, tmp_path)
    first = index.read_bytes(), (tmp_path / "b.html").read_bytes()
    assert (
        write_site(entries[::-1], tmp_path).read_bytes(),
        (tmp_path / "b.html").read_bytes(),
    ) == (first)
    assert (tmp_path / "mine.html").read_text() == "mine"
    assert not (tmp_path / "a.html").exists()


WRONG = {
    ("arms", "lion"): (5, "arms.lion: Input should be a valid list"),
    ("arms",): ([], "arms: Input should be a valid dictionary"),
    ("runs", 0, "metrics"): (None, "runs.0.metrics: Input should be a valid dictionary"),
    ("runs", 1, "cost", "wall_seconds"): (float("inf"), "runs.1.cost.wall_seconds.int"),
    ("claims", 0, "verdict"): (["x"], "claims.0.verdict: Input should be a valid string"),
    ("tuning", "grid", "lion", 0): (5, "tuning.grid.lion.0: Input should be a valid dictionary"),
    ("figures",): ("x", "figures: Input should be a valid list"),
}


@pytest.mark.parametrize("place", WRONG)
def test_results_of_another_form_are_left_out(
    place: tuple[str | int, ...], in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value, said = WRONG[place]
    results: Any = json.loads(json.dumps(example()))
    *way, last = place
    node = results
    for key in way:
        node = node[key]
    node[last] = value
    folder = in_tmp / "outputs" / "own" / "laptop"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    with pytest.raises(UserError, match="is not as suexp writes it: ") as raised:
        load_results(folder)
    assert said in str(raised.value)
    (entry,) = (found for found in entries(Catalogue(), Path("outputs")) if found.slug == "own")
    assert entry.results is None
    assert capsys.readouterr().out.startswith("left out: outputs/own/laptop/results.json is not")
