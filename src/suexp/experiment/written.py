"""What came out, written down: results.json and the report beside it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from suexp.errors import writing
from suexp.experiment.gather import collect
from suexp.experiment.plan import Plan, Planned
from suexp.redaction import without_secrets
from suexp.report.pages import write_report
from suexp.store.folder import refuse_links, write_atomic
from suexp.store.numbers import dumps


def write(
    plan: Plan,
    folder: Path,
    planned: Sequence[Planned] | None = None,
    partial: dict[str, Any] | None = None,
    known: dict[str, dict[str, Any]] | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Write the report, and results.json unless runs go on; return what it holds.

    Args:
        plan: the experiment.
        folder: where both go.
        planned: see `suexp.experiment.gather.collect`, as for the next two.
        partial: how far the experiment is.
        known: entries of runs that have ended.
        command: what was typed, where that is not the plan's own command.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        refuse_links(folder)
        results = collect(plan, folder, planned, partial, known)
        if command is not None:
            results["command"] = command
        results = without_secrets(results)
    results["created"] = datetime.now(UTC).isoformat(timespec="seconds")
    if partial is None or not partial["running"]:
        text = dumps(results, indent=1, ensure_ascii=False)
        write_atomic(folder / "results.json", text)
    write_report(results, folder)
    return results
