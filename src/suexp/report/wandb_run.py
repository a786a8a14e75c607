"""What Weights & Biases gets: a run for each run, and one for each experiment."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

from suexp.errors import UserError
from suexp.judge.claims import finals

ONLINE = ("logger.wandb.mode=online", "use logger.wandb.mode=offline and `wandb sync` later")


def begin(
    logger: Mapping[str, Any],
    folder: Path,
    code: Mapping[str, Any],
    config: Mapping[str, Any],
    **facts: Any,
) -> Any:
    """Begin a wandb run: offline unless asked otherwise, never a prompt.

    Args:
        logger: ``project``, ``entity`` and ``mode``, as in conf/logger/wandb.yaml.
        folder: where its files go.
        code: ``versions``, ``commit`` and ``dirty``, as in a summary.
        config: what was run.
        facts: id, name, group, job_type, tags; resume="allow" goes on with a run of that id, which
            is replaced otherwise.

    Raises:
        UserError: online without a key.
    """
    # wandb's error reports are the one connection that its offline mode would make.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    if logger["mode"] == "online":
        need_key(*ONLINE)
    elif logger["mode"] == "offline":
        # An earlier part of this run: a killed process leaves a file that cannot be synchronised.
        for earlier in (folder / "wandb").glob(f"offline-run-*-{facts['id']}"):
            shutil.rmtree(earlier)
    return wandb.init(
        project=logger["project"],
        entity=logger["entity"],
        mode=logger["mode"],
        dir=folder,
        config={
            **config,
            "code": {key: code[key] for key in ("versions", "commit", "dirty")},
        },
        # Neither machine nor command line nor packages: the config says what was run.
        settings=wandb.Settings(
            silent=True,
            console="off",
            x_disable_stats=True,
            x_disable_meta=True,
            disable_git=True,
            disable_code=True,
            x_save_requirements=False,  # reads the metadata of every package: 0.2 s
            git_commit=code["commit"],
        ),
        **facts,
    )


def need_key(what: str, instead: str) -> None:
    """Check that there is a key; wandb would ask for one.

    Args:
        what: what needs it.
        instead: what can be done without.

    Raises:
        UserError: there is none.
    """
    import wandb

    if not wandb.login(prompt=False, verify=False):
        raise UserError(f"{what} needs a key (WANDB_API_KEY or `wandb login`); {instead}")


def end(summary: Mapping[str, Any], exit_code: int) -> None:
    """End the wandb run of this process, if there is one, with final metrics and costs."""
    import wandb

    if wandb.run is None:
        return
    wandb.run.log({}, commit=True)  # the last row, which would come after the summary
    wandb.run.summary.update(
        {**finals(summary), "status": summary["status"], "error": summary["error"]}
    )
    wandb.finish(exit_code=exit_code)


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
    """Return columns and rows: a row a claim, its difference with the ends of its interval."""
    rows = []
    for claim in results["claims"]:
        low, high = claim.get("interval") or (None, None)
        facts = [claim.get(key) for key in ("id", "text", "test", "verdict", "estimate")]
        rows.append([*facts, low, high, claim.get("n"), claim.get("reason")])
    columns: list[str | int]
    columns = ["claim", "text", "test", "verdict", "difference", "low", "high", "seeds", "reason"]
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
