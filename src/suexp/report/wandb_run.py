"""What Weights & Biases gets of a whole experiment: a run of its own."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

from suexp.logger._wandb_session import begin
from suexp.store.summary import finals


def record(results: Mapping[str, Any], folder: Path, logger: Mapping[str, Any]) -> None:
    """Record an experiment as a wandb run of its own, of the job type ``report``.

    It holds the claims and the arms as tables, and the figures. Its id belongs to the folder, so
    that a repeated experiment takes the place of the earlier one.

    Args:
        results: results.json.
        folder: where it and figures/ stand, and where wandb's files go.
        logger: as in `begin`.

    Raises:
        UserError: online without a key.
    """
    name, scale = str(results["experiment"]), str(results["scale"])
    run = begin(
        logger,
        folder,
        results,
        {key: results.get(key) for key in ("post", "command", "scale", "arms", "seeds", "tuning")},
        id=identity(name, folder),
        name=f"{name}-{folder.name}"[:128],
        group=name,
        job_type="report",
        tags=[name, scale],
    )
    import wandb

    tables = {"claims": claims_table(results), "arms": arms_table(results)}
    shown: dict[str, Any] = {
        name: wandb.Table(columns=columns, data=rows) for name, (columns, rows) in tables.items()
    }
    for figure in results["figures"]:
        if figure["file"]:
            picture = (folder / figure["file"]).read_text(encoding="utf-8")
            shown[f"figures/{figure['name']}"] = wandb.Html(picture, inject=False)
    with _staging(Path(run.dir).parent):
        run.log(shown)
    run.summary.update({f"claims/{claim['id']}": claim["verdict"] for claim in results["claims"]})
    run.finish(exit_code=int(any(item["status"] != "finished" for item in results["runs"])))


@contextmanager
def _staging(folder: Path) -> Iterator[None]:
    """Keep the tables that are to be uploaded beside the run, and not in the user's home."""
    name = "WANDB_DATA_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def identity(experiment: str, folder: Path) -> str:
    """Return the id of an experiment's own run: ten hexadecimal digits, as other runs have."""
    return hashlib.sha256(f"{experiment}/{folder.name}".encode()).hexdigest()[:10]


def claims_table(results: Mapping[str, Any]) -> tuple[list[str | int], list[list[Any]]]:
    """Return columns and rows: a row a claim, its quantity with the ends of its interval."""
    rows = []
    for claim in results["claims"]:
        low, high = claim.get("interval") or (None, None)
        facts = [claim.get(key) for key in ("id", "text", "test", "verdict", "estimate")]
        more = [claim.get(key) for key in ("bound", "judged", "n", "reason")]
        rows.append([*facts, low, high, *more])
    columns: list[str | int]
    columns = ["claim", "text", "test", "verdict", "estimate", "low", "high"]
    columns += ["bound", "judged", "seeds", "reason"]
    return columns, rows


def arms_table(results: Mapping[str, Any]) -> tuple[list[str | int], list[list[Any]]]:
    """Return columns and rows: a row an arm, the means of its metrics and costs over its runs."""
    ended = [run for run in results["runs"] if run["status"] == "finished"]
    names = dict.fromkeys(
        name
        for run in ended
        for name, value in finals(run).items()
        if isinstance(value, int | float)
    )
    rows = []
    for arm in results["arms"]:
        found = [finals(run) for run in ended if run["arm"] == arm]
        complete = {name for name in names if found and all(name in run for run in found)}
        means = [fmean(run[n] for run in found) if n in complete else None for n in names]
        rows.append([arm, len(found), *means])
    return ["arm", "seeds", *names], rows
