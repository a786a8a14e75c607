"""The pictures that every card has, drawn from results.json alone: its claims, and their seeds."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suexp.report import forest_data, pairs
from suexp.report.forest_data import Row
from suexp.report.scene import scene

CLAIMS, SEEDS, BOOK = "verdicts.svg", "seeds.svg", "book.svg"


@dataclass(frozen=True)
class Picture:
    """A drawing beside a report.

    Attributes:
        name: what it is called.
        file: its file, in the folder of the report.
        caption: what it shows.
        stamp: changes with what it shows; it stands in the file.
        draw: writes it to a path.
    """

    name: str
    file: str
    caption: str
    stamp: str
    draw: Callable[[Path], None]

    def as_figure(self) -> dict[str, Any]:
        """Return it as results.json has figures."""
        return {"name": self.name, "file": self.file, "caption": self.caption}

    def drawn(self, folder: Path) -> bool:
        """Tell whether the folder has it as it would be drawn today."""
        path = folder / self.file
        return path.is_file() and self.stamp in path.read_text(encoding="utf-8", errors="replace")


def pictures(results: Mapping[str, Any]) -> list[Picture]:
    """Return the pictures of a card; none where there is nothing to show."""
    found = []
    rows = forest_data.rows_of(results["claims"])
    if any(row.mean is not None for row in rows):  # smoke scale has one seed, and no spread
        caption = (
            "How far each claim lies from its bound: the mean, its 95 % interval at the look that "
            "the verdict comes from, a tick a seed. Right of 0 it holds; open claims are hollow."
        )
        bare = sum(row.mean is None for row in rows)
        if bare:
            caption += " On the right stand identities, counts and what has no interval."

        def claims(path: Path) -> None:
            from suexp.report.forest import draw_card

            draw_card(rows, path, stamp(rows))

        found.append(Picture("verdicts", CLAIMS, caption, stamp(rows), claims))
    panels = pairs.panels_of(results)
    if panels:
        looks = scene(results).looks
        caption = (
            "Both sides of a comparison, a line a seed: red and dashed where the seed speaks "
            "against the claim."
        )
        many = sum(1 for row in rows if row.mean is not None)
        if len(panels) == pairs.MOST and many > pairs.MOST:
            caption += f" {len(panels)} of {many} claims, the failed and the open ones first."

        def seeds(path: Path) -> None:
            pairs.draw(panels, looks, path, stamp(panels))

        found.append(Picture("seeds", SEEDS, caption, stamp(panels), seeds))
    return found


def book(recorded: Sequence[Mapping[str, Any]]) -> Picture | None:
    """Return the picture of all claims of all experiments; None where there are none."""
    named = sorted(recorded, key=lambda results: str(results["experiment"]))
    rows = {str(item["experiment"]): forest_data.rows_of(item["claims"]) for item in named}
    rows = {name: claims for name, claims in rows.items() if claims}
    if not rows:
        return None
    count = sum(map(len, rows.values()))
    caption = (
        f"All {count} claims of {len(rows)} experiments on one scale: a row a claim, a tick a "
        "seed, the 95 % interval. Right of 0 a claim holds; what is hollow is open."
    )

    def draw(path: Path) -> None:
        from suexp.report.forest import draw_book

        draw_book(rows, path, stamp(rows))

    return Picture("book", BOOK, caption, stamp(rows), draw)


def write(results: Mapping[str, Any], folder: Path) -> None:
    """Draw the pictures of a card that its folder has not; what is there in vain goes."""
    wanted = pictures(results)
    for picture in wanted:
        if picture.drawn(folder):
            continue
        try:
            picture.draw(folder / picture.file)
        except Exception:  # a picture is never worth the results of a night
            (folder / picture.file).unlink(missing_ok=True)
    for file in {CLAIMS, SEEDS} - {picture.file for picture in wanted}:
        (folder / file).unlink(missing_ok=True)


def stamp(shown: Any) -> str:
    """Return a name of what is shown; last digits, in which machines differ, do not count."""
    return hashlib.sha256(_rounded(shown).encode()).hexdigest()[:16]


def _rounded(shown: Any) -> str:
    if isinstance(shown, float):
        return f"{shown:.6g}"
    if isinstance(shown, Row | pairs.Panel):
        shown = list(vars(shown).values())
    if isinstance(shown, Mapping):
        shown = list(shown.items())
    if isinstance(shown, list | tuple):
        return f"({','.join(map(_rounded, shown))})"
    return repr(shown)
