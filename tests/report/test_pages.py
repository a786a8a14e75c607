"""Reports: complete, escaped, self-contained; and the script that records them."""

import importlib.util
import json
import math
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from suexp.config.catalogue import Catalogue
from suexp.errors import UserError
from suexp.judge.claims import judge
from suexp.report import wording as readable
from suexp.report.figures import draw
from suexp.report.pages import (
    html_report,
    inline_svg,
    load_results,
    markdown_report,
    markdown_verdict_table,
    write_report,
)
from suexp.report.view import view
from tests.support.results_example import EVIL_SVG, FIGURES, evil, example, write_histories

VOID = {"meta", "wbr", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects elements and the verdict table; fails on tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.cells, self.text = [], [], [], {}
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append((tag, dict(attributes)))

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open[-1][0] == tag, f"</{tag}> closes <{self.open[-1][0]}>"
        self.open.pop()

    def handle_data(self, data):
        for tag, attributes in self.open:
            key = (tag, attributes.get("id") or attributes.get("class"))
            self.text[key] = self.text.get(key, "") + data

    def elements(self, tag):
        return [attributes for name, attributes in self.seen if name == tag]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Both examples with their figures, which take a second to draw."""
    folders = {}
    for failed in (True, False):
        path = folders[failed] = tmp_path_factory.mktemp("drawn")
        results = example(failed)
        write_histories(results, path / "runs")
        results["figures"] = draw(FIGURES, results, path / "runs", path)
        (path / "results.json").write_text(json.dumps(results), encoding="utf-8")
        write_report(results, path)
    return folders


@pytest.fixture
def folder(drawn, tmp_path):
    return shutil.copytree(drawn[True], tmp_path / "report")


# The page -----------------------------------------------------------------------------------------


def test_the_page_nests_and_names_its_verdicts(folder):
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert {"id": "verdicts"} in page.elements("table")
    rows = [row["id"] for row in page.elements("tr") if "id" in row]
    assert rows == [f"claim-C{n}" for n in (1, 2, 3, 6, 7, 8, 9)]
    verdicts = [cell for cell in page.elements("td") if cell.get("class") == "verdict"]
    assert len(verdicts) == 7
    words = re.sub(r"\s+", " ", page.text["td", "verdict"])
    assert (words.count("reproduced"), words.count("verified")) == (2, 1)
    assert "lion_wild, seed 0, failed: loss is NaN at step 12" in words


def test_the_page_needs_nothing_from_outside(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    for tag in ("script", "link", "img", "iframe", "object", "image"):
        assert page.elements(tag) == []
    assert not re.search(r"@import|url\((?!#)|\bsrc=|\bon\w+=", text)
    outside = [a["href"] for a in page.elements("a") if not a["href"].startswith("#")]
    assert outside == ["https://kexue.fm/archives/9473", "https://arxiv.org/abs/2302.06675"]
    policy = [m["content"] for m in page.elements("meta") if "http-equiv" in m]
    assert policy == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    ]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.elements(
        "meta"
    )
    assert "prefers-color-scheme: dark" in text


def test_ids_are_unique_and_references_lead_somewhere(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    ids = [attributes["id"] for _, attributes in Page(text).seen if "id" in attributes]
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text):
        assert "".join(target) in ids


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_everything_is_said(folder, name):
    text = (folder / name).read_text(encoding="utf-8")
    text = text.replace("\\", "").replace("<wbr>", "").replace("&#39;", "'").replace("&gt;", ">")
    for words in (
        "Google's searched optimizer Lion",
        "效率与效果兼得",
        "https://kexue.fm/archives/9473",
        "Symbolic Discovery of Optimization Algorithms",
        "needs half of AdamW's state",
        "suexp experiment=lion",
        "laptop",
        "2026-08-11 09:30 UTC",
        "0f3c9d2a7b1e",
        "AMD EPYC 7B13, 2 cores, 2 threads",
        "torch 2.13.0",
        "Lion wants a smaller learning rate",
        "1.640 ± 0.037",  # a final metric with its interval
        "274 k",  # parameters
        "1.31 G",  # FLOPs a step
        "18 s",
        "612 MB",
        "1.623 ◀",  # the tuned value in its grid
        "for each value of optimizer.lr",
        "The two decays of Lion beat the single one of Signum",
        "(Without lion_wild seed 0, 1, 2, which failed.)",
        "loss is NaN at step 12; last good checkpoint: step 10",
        "grid of learning rates, which is published",
        "3 of 15 runs did not finish",
        "optimizer=lion optimizer.lr=1e-3 optimizer.weight_decay=0.03",
        "val/bits_per_byte",
        "only the paper scale decides it",
    ):
        assert words in text, words


def test_smoke_and_dirty_are_said_aloud(tmp_path):
    results = example(failed=False) | {"scale": "smoke", "dirty": True}
    for text in (html_report(results, tmp_path), markdown_report(results)):
        assert "It decides nothing." in text
        assert "uncommitted changes" in text


def test_a_bare_result_is_still_a_report(tmp_path):
    """A run in an installed wheel has no commit; an estimation has no parameters and no tuning."""
    results = {
        "schema": 2,
        "experiment": "bare",
        "scale": "laptop",
        "arms": {"only": []},
        "runs": [
            {
                "id": "00000000",
                "arm": "only",
                "seed": 0,
                "status": "finished",
                "error": None,
                "metrics": {"rms": 1.0, "worst": math.nan},
                "cost": {"wall_seconds": 1.0, "flops_per_step": None},
            }
        ],
        "claims": [],
        "figures": [],
        "commit": None,
        "dirty": None,
        "tuning": None,
        "post": None,
    }
    for text in (html_report(results, tmp_path), markdown_report(results)):
        assert "The experiment states no claim." in text
        assert "FLOPs" not in text
        assert "NaN" in text
    Page(html_report(results, tmp_path))


def test_the_edge_of_a_grid_is_mentioned():
    results = example()
    results["tuning"]["chosen"]["lion"] = 3e-4
    assert "best value of lion lies at the edge of the grid" in markdown_report(results)
    assert "edge of the grid" not in markdown_report(example())


def test_trained_parameters_are_shown_where_some_are_frozen():
    results = example(failed=False)
    for trained, shown in ((274_000, False), (650, True)):
        for run in results["runs"]:
            run["cost"]["parameters/trainable"] = trained
        arms = view(results).arms
        assert ("trained" in arms.heads) is shown
    assert arms.rows[0][arms.heads.index("trained")] == "650"


def test_settings_of_several_parameters_are_rows():
    results, pair = example(), "optimizer.lr=1e-3 data.batch_size=8"
    results["tuning"]["grid"]["lion"].append({"value": pair, "metric": 1.25, "run": "abcdef01"})
    results["tuning"]["chosen"]["lion"] = pair
    text = markdown_report(results)
    assert f"| lion | {pair} | 1.25 ◀ |" in text.replace("\\_", "_")
    assert "or setting" in text
    assert "edge of the grid" not in text


# Names, errors and sentences are data -------------------------------------------------------------


def test_html_escapes_everything(tmp_path):
    text = html_report(evil(), tmp_path)
    page = Page(text)  # nests in spite of all
    assert page.elements("script") == []
    assert "<script" not in text
    assert not any("javascript" in a["href"] for a in page.elements("a"))
    assert text.count("&lt;script&gt;") > 30


def test_markdown_escapes_everything():
    text = markdown_report(evil())
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)  # the command
    prose = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", prose)  # code spans
    assert "<script" not in prose
    assert "](javascript" not in prose.replace("\\[c\\](javascript", "")
    assert not re.search(r"(?<!\\)[$*](?!Without)(?=[ab])", prose)
    assert not re.search(r"^# line", text, flags=re.MULTILINE)
    rules = list(re.finditer(r"^\|( -+:? \|)+$", text, flags=re.MULTILINE))
    assert len(rules) == 5
    for rule in rules:
        table = text[rule.start() :].split("\n\n")[0].splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1


def test_only_drawings_beside_the_report_are_shown(tmp_path):
    inside = tmp_path / "report"
    inside.mkdir()
    for path in (tmp_path / "out.svg", inside / "in.svg", inside / "in.txt"):
        path.write_text(EVIL_SVG)
    (inside / "half.svg").write_text(EVIL_SVG[:-9])
    (inside / "page.svg").write_text("<html><script>ran()</script></html>")
    shown = inline_svg(inside, {"name": "f 1", "file": "in.svg", "caption": 'a "b" <c>'})
    assert shown == (
        '<svg role="img" aria-label="a &quot;b&quot; &lt;c&gt;" viewBox="0 0 100 50">'
        '<image width="9" height="9" /><g id="f_1-a">'
        '<path d="M0 0H100V50" style="stroke: var(--c0072b2); clip-path: url(#f_1-c)" />'
        '<use href="#f_1-a" x="1" /></g></svg>'
    )
    unsuitable = ("../out.svg", str(tmp_path / "out.svg"), "in.txt", "half.svg", "page.svg")
    for file in (*unsuitable, "none.svg", None):
        assert inline_svg(inside, {"name": "f", "file": file, "caption": ""}) is None


# The table of all experiments ---------------------------------------------------------------------


def test_table_of_verdicts():
    one, other = example(failed=False), example(failed=False)
    other["experiment"], other["post"]["title"] = "alpha", "A | B"
    other["claims"] = [{**claim, "verdict": "not reproduced"} for claim in other["claims"]]
    assert markdown_verdict_table([one, other]).splitlines() == [
        "| Experiment | Post | Verified | Reproduced | Not reproduced | Inconclusive | Undecided "
        "| Run time |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
        "| [alpha](experiments/alpha/README.md) | [A \\| B](https://kexue.fm/archives/9473)"
        " | 0 | 0 | 6 | 0 | 0 | 3 min 38 s |",
        "| [lion](experiments/lion/README.md) | [Google's searched optimizer Lion]"
        "(https://kexue.fm/archives/9473) | 1 | 2 | 0 | 2 | 1 | 3 min 38 s |",
    ]


# Reading results ----------------------------------------------------------------------------------


def test_results_are_read_back(folder):
    assert load_results(folder)["experiment"] == "lion"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"has no results\.json; run the experiment first"),
        ('{"schema": 1, "runs": [', r"is damaged \(.*run the experiment again"),
        ("", r"is damaged"),
        ("[]", r"is not the results of an experiment"),
        ('{"schema": 1}', r"is not the results of an experiment"),
    ],
)
def test_missing_and_broken_results_say_so_in_one_line(tmp_path, text, message):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_results(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_folder_of_a_scale_is_suggested(folder):
    with pytest.raises(UserError, match=r"did you mean .*report\?"):
        load_results(folder.parent)


def test_results_of_another_version_are_refused(folder):
    results = json.loads((folder / "results.json").read_text()) | {"schema": 3}
    (folder / "results.json").write_text(json.dumps(results))
    with pytest.raises(UserError, match="has schema 3, this version reads up to 2"):
        load_results(folder)


def test_results_that_are_not_text_are_refused(tmp_path):
    (tmp_path / "results.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is damaged"):
        load_results(tmp_path)


# Numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (readable.number(0.1234567), "0.1235"),
        (readable.number(300), "300"),
        (readable.number(1096000.0), "1,096,000"),
        (readable.number(12345.678), "12,346"),
        (readable.number(1.5e-7), "1.5e-7"),
        (readable.number(-3.25e12), "-3.25e12"),
        (readable.number(float("inf")), "∞"),
        (readable.number(None), "–"),
        (readable.with_interval(1.6846, 1.6601, 1.7091), "1.685 [1.660, 1.709]"),
        (readable.with_interval(-219200.0, -219200.0, -219200.0), "-219,200, no spread"),
        (readable.with_interval(2.0, None, None), "2"),
        (readable.with_interval(2e-6, 1.5e-6, 2.5e-6), "2.00e-6 [1.50e-6, 2.50e-6]"),
        (readable.with_interval(5210.4, 4800.0, 5620.8), "5,210 [4,800, 5,621]"),
        (readable.plus_minus(1.6846, 1.6601, 1.7091), "1.685 ± 0.025"),
        (readable.plus_minus(3.0, 3.0, 3.0), "3"),
        (readable.count(274_000), "274 k"),
        (readable.count(1.31e9), "1.31 G"),
        (readable.count(300), "300"),
        (readable.size(612_000_000), "612 MB"),
        (readable.size(12), "12 B"),
        (readable.duration(0.0421), "0.042 s"),
        (readable.duration(18.3), "18 s"),
        (readable.duration(275), "4 min 35 s"),
        (readable.duration(7500), "2 h 5 min"),
        (readable.duration(None), "–"),
    ],
)
def test_numbers_are_readable(shown, expected):
    assert shown == expected


def test_links_are_found_and_nothing_is_lost():
    text = "See https://arxiv.org/abs/1.2, and (https://a.b/c)."
    pieces = readable.split_links(text)
    assert [piece for piece, link in pieces if link] == [
        "https://arxiv.org/abs/1.2",
        "https://a.b/c",
    ]
    assert "".join(piece for piece, _ in pieces) == text


# Recording ----------------------------------------------------------------------------------------


def script(name, monkeypatch):
    folder = Path(__file__).parents[2] / "scripts"
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "docs", raising=False)
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def record(monkeypatch):
    return script("record", monkeypatch)


@pytest.fixture
def docs(monkeypatch):
    return script("docs", monkeypatch)


@pytest.fixture
def root(drawn, tmp_path):
    for slug in ("lion", "other"):
        target = shutil.copytree(drawn[False], tmp_path / "outputs" / slug / "laptop")
        results = load_results(target) | {"experiment": slug}
        (target / "results.json").write_text(json.dumps(results), encoding="utf-8")
    text = "# suexp\n<!-- verdicts -->\nold\n<!-- /verdicts -->\nend\n"
    (tmp_path / "README.md").write_text(text)
    return tmp_path


def test_recording_writes_card_figures_and_table(record, docs, root, capsys):
    assert record.main(["lion", "other", "--root", str(root)]) == 0
    card = root / "experiments" / "lion"
    assert sorted(path.name for path in card.iterdir()) == [
        *("README.md", "curves.svg", "final.svg", "results.json", "seeds.svg", "theory.svg"),
        *("two_us.svg", "verdicts.svg"),
    ]
    text = (card / "README.md").read_text()
    assert "](curves.svg)" in text
    assert "tables" not in (card / "results.json").read_text()
    assert "figures/" not in text
    readme = (root / "README.md").read_text()
    assert readme.startswith("# suexp\n<!-- verdicts -->\n| Experiment |")
    assert readme.endswith("|\n<!-- /verdicts -->\nend\n")
    assert "[other](experiments/other/README.md)" in readme
    assert docs.main(["--check", "--root", str(root)]) == 0


def test_recording_again_changes_nothing_and_drops_stale_figures(record, root):
    record.main(["lion", "--root", str(root)])
    before = {path: path.read_bytes() for path in root.glob("experiments/**/*") if path.is_file()}
    (root / "experiments" / "lion" / "gone.svg").write_text("old")
    record.main(["lion", "--root", str(root)])
    after = {path: path.read_bytes() for path in root.glob("experiments/**/*") if path.is_file()}
    assert before == after


def test_what_results_suffice_for_is_drawn_again(record, docs, root):
    record.main(["lion", "--root", str(root)])
    folder = root / "experiments" / "lion"
    before = {path.name: path.read_bytes() for path in folder.glob("*.svg")}
    (folder / "curves.svg").write_text("of a history")
    (folder / "final.svg").write_text("of another day")
    caption = FIGURES["final"] | {"caption": "In other words."}
    assert record.redraw(folder, {**FIGURES, "final": caption}) == ["two_us", "final"]
    assert (folder / "curves.svg").read_text() == "of a history"
    assert (folder / "final.svg").read_bytes() == before["final.svg"]
    said = {item["name"]: item["caption"] for item in load_results(folder)["figures"]}
    assert said["final"] == "In other words."
    assert docs.main(["--root", str(root)]) == 0
    assert "*In other words.*" in (folder / "README.md").read_text()


@pytest.mark.parametrize("file", ["README.md", "experiments/lion/README.md"])
def test_check_finds_what_was_edited_by_hand(record, docs, root, capsys, file):
    record.main(["lion", "other", "--root", str(root)])
    path = root / file
    path.write_text(
        path.read_text().replace("inconclusive", "reproduced").replace("| 2 |", "| 3 |")
    )
    capsys.readouterr()
    assert docs.main(["--check", "--root", str(root)]) == 1
    assert capsys.readouterr().out.startswith(f"{file} is not up to date; run make docs")


def test_figures_on_real_data_join_the_card(record, docs, root):
    record.main(["lion", "--root", str(root)])
    card = root / "experiments" / "lion" / "README.md"
    plain = card.read_text()
    run = {
        "title": "Words of PKU",
        "source": "[SIGHAN](https://sighan.example/2005), the test set",
        "command": "suexp task=tagging",
        "metrics": {"test/f1": 0.93214},
        "steps": 300,
        "wall_seconds": 61.2,
        "commit": "0123456789abcdef",
        "dirty": False,
    }
    card.with_name("real_data.json").write_text(json.dumps([run]), encoding="utf-8")
    assert docs.main(["--check", "--root", str(root)]) == 1
    assert docs.main(["--root", str(root)]) == 0
    added = card.read_text().removeprefix(plain.rstrip())
    assert added.startswith("\n\n## On data that is not shipped\n")
    cited = "Words of PKU ([SIGHAN](https://sighan.example/2005), the test set)"
    assert f"- {cited}: **test/f1 0.9321** (300 steps, 1 min 1 s" in added
    assert "commit `0123456789ab`)\n\n      suexp task=tagging\n" in added
    page = html_report(load_results(card.parent), card.parent)
    assert '(<a href="https://sighan.example/2005">SIGHAN</a>, the test set)' in page
    assert "<code>0123456789ab</code>)<pre><code>suexp task=tagging</code></pre>" in page
    assert docs.main(["--check", "--root", str(root)]) == 0
    card.with_name("real_data.json").write_text("[{", encoding="utf-8")
    with pytest.raises(UserError, match=r"real_data.json is damaged"):
        load_results(card.parent)


def test_limits_are_those_of_today(record, root):
    record.main(["lion", "other", "--root", str(root)])
    today = Catalogue().option("experiment", "lion").content["post"]["limits"][0]
    cards = {
        slug: (root / "experiments" / slug / "README.md").read_text() for slug in ("lion", "other")
    }
    assert today[:40] in cards["lion"]
    assert today[:40] not in cards["other"]  # no such experiment: those of its results


def test_check_finds_a_missing_figure(record, docs, root, capsys):
    record.main(["lion", "--root", str(root)])
    (root / "experiments" / "lion" / "final.svg").unlink()
    assert docs.main(["--check", "--root", str(root)]) == 1


def test_pictures_of_other_results_are_stale(record, docs, root, capsys):
    """A card's pictures and the book's are made of results alone, and drawn again by docs."""
    record.main(["lion", "--root", str(root)])
    folder = root / "experiments"
    before = (folder / "book.svg").read_bytes()
    results = json.loads((folder / "lion" / "results.json").read_text())
    results["claims"][2]["verdict"] = "inconclusive"
    (folder / "lion" / "results.json").write_text(json.dumps(results))
    capsys.readouterr()
    assert docs.main(["--check", "--root", str(root)]) == 1
    said = capsys.readouterr().out
    assert "experiments/lion/verdicts.svg is not up to date" in said
    assert "experiments/book.svg is not up to date" in said
    assert docs.main(["--root", str(root)]) == 0
    assert docs.main(["--check", "--root", str(root)]) == 0
    assert (folder / "book.svg").read_bytes() != before


def test_folders_have_a_map_of_one_line_each(docs, tmp_path):
    package = tmp_path / "src" / "suexp"
    (package / "attention").mkdir(parents=True)
    (package / "attention" / "__init__.py").write_text(
        '"""How a query gathers values.\n\nMore."""\n'
    )
    (package / "judge").mkdir()
    (package / "judge" / "__init__.py").write_text('"""Verdicts."""\n')
    (package / "api.py").write_text('"""Python\'s door."""\n')
    (tmp_path / "README.md").write_text("<!-- verdicts -->\n<!-- /verdicts -->\n")
    (package / "README.md").write_text("Where things are.\n<!-- src -->\n<!-- /src -->\n")
    assert docs.main(["--check", "--root", str(tmp_path)]) == 1
    assert docs.main(["--root", str(tmp_path)]) == 0
    lines = (package / "README.md").read_text().splitlines()
    assert [line for line in lines if line.startswith("| `")] == [
        "| `attention/` | How a query gathers values. |",
        "| `judge/` | Verdicts. |",
        "| `api.py` | Python's door. |",
    ]
    assert docs.main(["--check", "--root", str(tmp_path)]) == 0


def test_a_part_that_is_not_closed_is_one_line(docs, tmp_path, capsys):
    (tmp_path / "README.md").write_text("<!-- groups -->\n")
    assert docs.main(["--root", str(tmp_path)]) == 2
    line = "README.md: <!-- groups --> needs a line <!-- /groups --> after it\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dirty": True}, "not made from a clean commit"),
        ({"dirty": None}, "not made from a clean commit"),
        ({"scale": "smoke"}, "of scale smoke"),
        ({"runs": []}, "all runs did not finish"),
        ({"claims": judge({"C": {"text": "", "test": "x[a] < 1"}}, [], "laptop")}, "evaluated: C"),
    ],
)
def test_doubtful_results_are_recorded_only_on_request(record, root, capsys, change, reason):
    path = root / "outputs" / "lion" / "laptop" / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert record.main(["lion", "--root", str(root)]) == 2
    assert reason in capsys.readouterr().err
    assert not (root / "experiments" / "lion").exists()
    assert record.main(["lion", "--root", str(root), "--allow-dirty"]) == 0


def test_runs_of_several_commits_are_not_recorded(record, root, capsys):
    path = root / "outputs" / "lion" / "laptop" / "results.json"
    results = json.loads(path.read_text())
    results["runs"][0] |= {"commit": "a" * 40}
    results["runs"][1] |= {"commit": "b" * 40, "dirty": True}
    path.write_text(json.dumps(results))
    assert record.main(["lion", "--root", str(root)]) == 2
    said = capsys.readouterr().err
    assert "not made from a clean commit; its runs come from 2 commits" in said
    text = markdown_report(results)
    assert f"Commits of reused runs: {'a' * 12}, {'b' * 12}" in text
    assert "uncommitted changes" in text


def test_failed_runs_are_not_recorded(record, root, drawn, capsys):
    source = root / "outputs" / "lion" / "laptop" / "results.json"
    shutil.copyfile(drawn[True] / "results.json", source)
    assert record.main(["lion", "--root", str(root)]) == 2
    assert "3 runs did not finish; not evaluated: C7" in capsys.readouterr().err


def test_a_readme_without_markers_is_left_alone(record, docs, root, capsys):
    (root / "README.md").write_text("# mine\n")
    assert docs.main(["--root", str(root)]) == 2
    assert "README.md needs the lines <!-- verdicts -->" in capsys.readouterr().err
    assert (root / "README.md").read_text() == "# mine\n"


def test_an_unknown_experiment_is_one_line(record, root, capsys):
    assert record.main(["loin", "--root", str(root)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
