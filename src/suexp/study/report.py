"""What came out of a study: a table, study.json, the best trial's command, a figure."""

import json
import shlex
from dataclasses import asdict
from typing import Any

from suexp.report.wording import number
from suexp.store.folder import write_atomic
from suexp.study.study import Study

STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "unfinished"}


def write(study: Study) -> int:
    """Show the trials, write study.json and study.svg; return how many trials failed."""
    results = collect(study)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    write_atomic(study.folder / "study.json", text)
    drawn = any(row["value"] is not None for row in results["trials"])
    if drawn:
        from suexp.study.figure import draw

        draw(results, study.folder / "study.svg")
    _show(results, study, drawn)
    return sum(row["state"] == "failed" for row in results["trials"])


def collect(study: Study) -> dict[str, Any]:
    """Return what study.json holds: the trials, the best first, and where they come from."""
    maximize = study.settings.direction == "maximize"
    rows = []
    for trial in study.trials():
        last = trial.intermediate_values.get(trial.last_step)
        rows.append(
            {
                "number": trial.number,
                "state": STATES[trial.state.name],
                "value": trial.value if trial.state.name == "COMPLETE" else last,
                "step": trial.last_step,
                "parameters": trial.params,
                "run": trial.user_attrs.get("run"),
                "error": trial.user_attrs.get("error"),
                "intermediate": {str(k): v for k, v in trial.intermediate_values.items()},
            }
        )

    def place(row: dict[str, Any]) -> Any:
        value = row["value"]
        bad = float("inf") if value is None else -value if maximize else value
        return [*STATES.values()].index(row["state"]), bad, row["number"]

    rows.sort(key=place)
    best = rows[0] if rows and rows[0]["state"] == "finished" else None
    if best:
        overrides = study.search.overrides(best["parameters"])
        best = {**best, "command": shlex.join(["suexp", *overrides])}
    return {
        "schema": 1,
        "study": study.name,
        "metric": study.settings.metric,
        "direction": study.settings.direction,
        "sampler": study.settings.sampler,
        "pruner": study.settings.pruner,
        "storage": study.url,
        "space": {key: asdict(item) for key, item in study.search.space.items()},
        "fixed": study.search.fixed,
        "best": best,
        "trials": rows,
    }


def _show(results: dict[str, Any], study: Study, drawn: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"study {results['study']}", title_justify="left")
    for column in ("trial", "state", results["metric"], *results["space"]):
        table.add_column(column)
    table.add_column("run", no_wrap=True)
    for row in results["trials"]:
        values = [row["parameters"].get(key) for key in results["space"]]
        cells = [row["number"], row["state"], number(row["value"]), *map(number, values)]
        table.add_row(*map(str, cells), row["run"] or "")
    console = Console()
    console.print(table)
    for row in results["trials"]:
        if row["error"]:
            console.print(f"trial {row['number']}: {row['error']}", markup=False, soft_wrap=True)
    for line in (
        results["best"] and f"best: {results['best']['command']}",
        f"results: {study.folder / 'study.json'}",
        drawn and f"figure: {study.folder / 'study.svg'}",
    ):
        if line:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
