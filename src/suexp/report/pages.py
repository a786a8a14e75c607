"""The report of an experiment as one Markdown file and one HTML page that needs nothing else.

Names, errors and sentences are data: HTML escapes every one of them, and so does Markdown. The page
loads nothing and runs nothing (its own content policy forbids both).
"""

import functools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from suexp.errors import UserError
from suexp.judge.claims import VERDICTS
from suexp.redaction import without_secrets
from suexp.report import pictures
from suexp.report import wording as readable
from suexp.report.inline_svg import EXCHANGED, inline_svg
from suexp.report.older import SCHEMA, brought_up
from suexp.report.results import mistake, with_numbers
from suexp.report.scene import EDGE_NOTE
from suexp.report.verdicts import MARKS
from suexp.report.view import Table, View, view
from suexp.store.folder import write_atomic

TEMPLATES = Path(__file__).parent / "templates"
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
NEEDED = ("schema", "experiment", "scale", "arms", "runs", "claims", "figures")


def load_results(directory: Path) -> dict[str, Any]:
    """Read the results.json of a folder, with what was run on real data beside it.

    Raises:
        UserError: there is none, it is not whole, or another version wrote it.
    """
    path = directory / "results.json"
    again = "run the experiment again (finished runs are reused)"
    try:
        results = _load(path, again)
    except FileNotFoundError:
        inside = sorted(p.parent for p in directory.glob("*/results.json"))
        hint = f"did you mean {inside[0]}?" if inside else "run the experiment first"
        raise UserError(f"{directory} has no results.json; {hint}") from None
    if not isinstance(results, dict) or any(key not in results for key in NEEDED):
        raise UserError(f"{path} is not the results of an experiment")
    if results["schema"] not in (1, SCHEMA):
        raise UserError(f"{path} has schema {results['schema']}, this version reads up to {SCHEMA}")
    real = directory / "real_data.json"
    if real.is_file():
        results["real_data"] = _load(real, "restore or delete it")
    wrong = mistake(results)
    if wrong:
        raise UserError(f"{path} is not as suexp writes it: {wrong}; {again}")
    return brought_up(without_secrets(with_numbers(results)))


def _load(path: Path, remedy: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}") from error


def write_report(results: dict[str, Any], directory: Path) -> None:
    """Write report.md and report.html beside results.json and the figures.

    Args:
        results: results.json.
        directory: where the figures' files are found and the reports go.
    """
    pictures.write(results, directory)
    write_atomic(directory / "report.md", markdown_report(results))
    write_atomic(directory / "report.html", html_report(results, directory))


@dataclass(frozen=True)
class Link:
    """An address within the site, and what it is called."""

    href: str
    title: str


@dataclass(frozen=True)
class Place:
    """Where a page stands among the pages of a site."""

    index: str
    previous: Link | None
    next: Link | None


def html_report(results: dict[str, Any], directory: Path) -> str:
    """Return the page, with the figures found in a folder inside it."""
    return html_page(view(results), directory)


def html_page(shown: View, directory: Path, place: Place | None = None) -> str:
    """Return the page of what is shown of an experiment.

    Args:
        shown: from :func:`suexp.report.view.view`.
        directory: where the figures' files are found.
        place: the page's neighbours when it belongs to a site.
    """
    return html_template("report.html.j2").render(
        view=shown,
        policy=POLICY,
        svg=lambda figure: inline_svg(directory, figure),
        place=place,
    )


@functools.cache
def html_template(name: str) -> Template:
    """Return a page's template: it escapes what it is given, and has the style of all pages."""
    environment = _environment(None)
    environment.filters |= {
        "link": _html_link,
        "linked": _html_linked,
        "cited": _html_cited,
        "class": _class,
        "whole": _whole,
    }
    environment.globals |= {"style": source("report.css"), "colours": EXCHANGED}
    return environment.get_template(name)


def source(name: str) -> Markup:
    """Return a style or script of ours, for the inside of a page."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def markdown_report(results: dict[str, Any]) -> str:
    """Return the report as Markdown; figures are linked by the paths in the results."""
    environment = _environment(_markdown_text)
    environment.filters |= {
        "code": _markdown_code,
        "link": _markdown_link,
        "linked": _markdown_linked,
        "cited": _markdown_cited,
        "path": lambda path: Markup(quote(str(path))),
        "fenced": lambda text: Markup(" ".join(str(text).replace("```", "").split())),
    }
    environment.globals["table"] = _markdown_table
    text = environment.get_template("report.md.j2").render(view=view(results))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def markdown_verdict_table(results: list[dict[str, Any]]) -> str:
    """Return the table of all experiments with the numbers of their verdicts.

    Args:
        results: the recorded results; names link to experiments/<slug>/README.md.
    """
    views = [view(item) for item in sorted(results, key=lambda item: str(item["experiment"]))]
    always = ("reproduced", "not reproduced", "inconclusive")
    verdicts = [v for v in VERDICTS if v in always or any(v in item.counts for item in views)]
    heads = ["Experiment", "Post", *(verdict.capitalize() for verdict in verdicts), "Run time"]
    rows = [
        [
            f"[{_markdown_text(item.name)}](experiments/{quote(item.name)}/README.md)",
            str(_markdown_link(item.title, item.url)),
            *(str(item.counts.get(verdict, 0)) for verdict in verdicts),
            item.total_time,
        ]
        for item in views
    ]
    rule = ["---", "---", *(["--:"] * (len(verdicts) + 1))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (heads, rule, *rows))


def _environment(escape: Callable[[Any], Any] | None) -> Environment:
    """Return a template environment that escapes by default: HTML, or by the function given."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=escape is None,
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    environment.globals |= {"MARKS": MARKS, "EDGE_NOTE": EDGE_NOTE}
    return environment


def _web(url: Any) -> str | None:
    """Return an address that is safe to link: http or https only."""
    text = str(url or "")
    return quote(text, safe=":/?#&=%~+,;@!*-._") if re.match(r"https?://", text) else None


def _class(verdict: Any) -> str:
    return str(verdict).replace(" ", "-")


def _html_link(text: Any, url: Any) -> Markup:
    target = _web(url)
    return Markup('<a href="{}">{}</a>').format(target, text) if target else Markup.escape(text)


def _html_linked(text: Any) -> Markup:
    pieces = readable.split_links(str(text))
    return Markup("").join(_html_link(p, p) if is_link else p for p, is_link in pieces)


def _html_cited(text: Any) -> Markup:
    return _cited(text, _html_link, Markup("<code>{}</code>").format, Markup.escape)


def _cited(
    text: Any,
    link: Callable[[str, str], Markup],
    code: Callable[[str], Markup],
    plain: Callable[[str], str],
) -> Markup:
    """Return a text with Markdown's links and code spans, of one line each, in another form."""
    made = []
    for piece in re.split(r"(\[[^\]]+\]\([^()\s]+\)|`[^`]+`)", str(text)):
        found = re.fullmatch(r"\[(.+)\]\((.+)\)", piece)
        if found:
            made.append(link(found[1], found[2]))
        else:
            made.append(code(piece[1:-1]) if piece[:1] == "`" else Markup(plain(piece)))
    return Markup("").join(made)


def _whole(text: Any) -> Markup:
    """Keep an interval on one line: mean [low, high]."""
    before, bracket, after = str(text).partition("[")
    if not bracket:
        return Markup.escape(text)
    return Markup('{}<span class="whole">[{}</span>').format(before, after)


def _breakable(text: Any) -> Markup:
    """Let a long name like optimizer/state_bytes break after its slash."""
    return Markup("/<wbr>").join(str(text).split("/"))


def _markdown_table(table: Table) -> Markup:
    rows = [[_markdown_text(cell) for cell in row] for row in (table.heads, *table.rows)]
    rows.insert(1, ["---", *["--:"] * (len(table.heads) - 1)])
    return Markup("\n".join(f"| {' | '.join(cells)} |" for cells in rows))


def _markdown_text(text: Any) -> str:
    r"""Escape what Markdown, GitHub's tables and its mathematics would read as their own."""
    if isinstance(text, Markup):
        return str(text)
    line = re.sub(r"\s+", " ", str(text))
    line = re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", line)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _markdown_code(text: Any) -> Markup:
    """Put a text into a code span, also one that holds backticks or a table's bar."""
    line = " ".join(str(text).split())
    longest = max(map(len, re.findall(r"`+", line)), default=0)
    fence, pad = "`" * (longest + 1), " " if "`" in line else ""
    return Markup(f"{fence}{pad}{line}{pad}{fence}".replace("|", r"\|"))


def _markdown_link(text: Any, url: Any) -> Markup:
    target = _web(url)
    return Markup(f"[{_markdown_text(text)}]({target})" if target else _markdown_text(text))


def _markdown_linked(text: Any) -> Markup:
    pieces = readable.split_links(str(text))
    return Markup(
        "".join(f"<{_web(p)}>" if is_link else _markdown_text(p) for p, is_link in pieces)
    )


def _markdown_cited(text: Any) -> Markup:
    return _cited(text, _markdown_link, _markdown_code, _markdown_text)
