"""One static site over all experiments: an index to search, and each one's page."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from suexp.judge.claims import GOOD, VERDICTS
from suexp.redaction import without_secrets
from suexp.report.inline_svg import inline_svg
from suexp.report.pages import POLICY, Link, Place, html_page, html_template, source
from suexp.report.pictures import book
from suexp.report.view import View, view
from suexp.store.folder import write_atomic

INDEX = "index.html"
UNRUN = "not run yet"


@dataclass(frozen=True)
class Entry:
    """An experiment of the site.

    Args:
        slug: its name.
        content: its YAML; empty when it is known by its results alone.
        parts: what it chooses, such as ``optimizer=lion``.
        results: results.json, or None when it has not been run.
        folder: where its figures are found.
        where: in a word or two, whose results they are.
    """

    slug: str
    content: Mapping[str, Any]
    parts: Sequence[str] = ()
    results: Mapping[str, Any] | None = None
    folder: Path = Path()
    where: str = ""


@dataclass(frozen=True)
class Card:
    """An experiment as the index shows it."""

    entry: Entry
    view: View
    href: str | None

    @property
    def verdicts(self) -> dict[str, int]:
        """Number of claims of each verdict."""
        return self.view.counts if self.href else {UNRUN: len(self.view.claims)}

    @property
    def share(self) -> float:
        """How much of what is claimed holds."""
        good = sum(self.verdicts.get(verdict, 0) for verdict in GOOD)
        return round(good / max(len(self.view.claims), 1), 4)


def write_site(entries: Sequence[Entry], folder: Path) -> Path:
    """Write the index, the pages and the picture of all claims, and return the index.

    Posts stand newest first, as on the blog; neighbours are those that have been run.

    Args:
        entries: the experiments, each once.
        folder: where to; it is made, and other files in it are left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cards = [
        Card(
            entry,
            view(entry.results or _unrun(entry)),
            None if entry.results is None else quote(f"{entry.slug}.html", safe=""),
        )
        for entry in sorted(entries, key=lambda entry: entry.slug)
    ]
    cards.sort(key=lambda card: card.view.date or "", reverse=True)
    links = [(card, Link(card.href, card.view.title)) for card in cards if card.href]
    for i, (card, _) in enumerate(links):
        place = Place(
            index=INDEX,
            previous=links[i - 1][1] if i else None,
            next=links[i + 1][1] if i + 1 < len(links) else None,
        )
        page = html_page(card.view, card.entry.folder, place)
        write_atomic(folder / f"{card.entry.slug}.html", page)
    write_atomic(folder / INDEX, _index(cards, _book(entries, folder)))
    return folder / INDEX


def _book(entries: Sequence[Entry], folder: Path) -> Markup | None:
    """Draw all claims that were judged on one scale; None where there are none."""
    picture = book([entry.results for entry in entries if entry.results is not None])
    if picture is None:
        return None
    if not picture.drawn(folder):
        try:
            picture.draw(folder / picture.file)
        except Exception:  # a picture is never worth the site
            return None
    return inline_svg(folder, picture.as_figure())


def _unrun(entry: Entry) -> dict[str, Any]:
    """Return an experiment's results before there are any."""
    content = without_secrets(entry.content)
    claims = content.get("claims") or {}
    return {
        "experiment": entry.slug,
        "post": content.get("post"),
        "scale": "laptop",
        "arms": {},
        "runs": [],
        "claims": [{"id": key, "verdict": UNRUN, **claim} for key, claim in claims.items()],
        "figures": [],
    }


def _index(cards: Sequence[Card], picture: Markup | None) -> str:
    script = source("index.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    counts: Counter[str] = Counter()
    for card in cards:
        counts.update(card.view.counts)
    return html_template("index.html.j2").render(
        policy=f"{POLICY}; script-src 'sha256-{digest}'",
        script=script,
        index_style=source("index.css"),
        cards=cards,
        picture=picture,
        counts={verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
        unrun=sum(card.href is None for card in cards),
        UNRUN=UNRUN,
    )
