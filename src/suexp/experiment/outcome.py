"""What came out of an experiment, as an object for Python and notebooks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from suexp.report import latest
from suexp.report.verdicts import MARKS, Judged, judged
from suexp.store.summary import Status


@dataclass(frozen=True, repr=False)
class Experiment:
    """The content of a results.json; a notebook shows it as a table of verdicts.

    Attributes:
        results: all that the file holds.
        folder: where it lies, with figures and reports.
    """

    results: Mapping[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.results["experiment"])

    @property
    def scale(self) -> str:
        """The scale that it was run at."""
        return str(self.results["scale"])

    @property
    def arms(self) -> dict[str, list[str]]:
        """Each arm's overrides, the baseline first."""
        return dict(self.results["arms"])

    @property
    def claims(self) -> dict[str, Judged]:
        """Each claim with its sentence, verdict, estimate and reason."""
        return {claim["id"]: judged(claim) for claim in self.results["claims"]}

    @property
    def runs(self) -> list[dict[str, Any]]:
        """A row a run: id, arm, seed, status, metrics, cost and more."""
        return list(self.results["runs"])

    @property
    def figures(self) -> dict[str, Path]:
        """The figures that were drawn, SVG files."""
        drawn = (figure for figure in self.results["figures"] if figure.get("file"))
        return {figure["name"]: self.folder / figure["file"] for figure in drawn}

    @property
    def unfinished(self) -> int:
        """How many runs did not come to their end."""
        return sum(run["status"] != Status.FINISHED for run in self.runs)

    def __repr__(self) -> str:
        found = latest.summary(dict(self.results))
        return f"<Experiment {self.name}: {found}, {len(self.arms)} arms, {len(self.runs)} runs>"

    def _repr_html_(self) -> str:
        """Return the verdicts as a table, which Jupyter shows."""
        row = Markup("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} {}</td></tr>")
        rows = Markup("").join(
            row.format(
                claim.id,
                claim.text,
                claim.estimate or "",
                claim.allowed or "",
                MARKS.get(claim.verdict, ""),
                claim.label,
            )
            for claim in self.claims.values()
        )
        heads = ("claim", "sentence", "found [95 % interval]", "allowed", "verdict")
        head = Markup("").join(Markup("<th>{}</th>").format(text) for text in heads)
        return str(
            Markup("<table><caption>{} ({})</caption><tr>{}</tr>{}</table>").format(
                self.name, self.scale, head, rows
            )
        )
