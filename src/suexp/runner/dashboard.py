"""What Weights & Biases gets: a run for each run, and one for each experiment."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suexp.errors import UserError
from suexp.runner.claims import finals


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
        facts: id, name, group, job_type, tags.

    Raises:
        UserError: online without a key.
    """
    # wandb's error reports are the one connection that its offline mode would make.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    if logger["mode"] == "online":
        need_key()
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
            "code": {
                "suexp": (code["versions"] or {}).get("suexp"),
                **{key: code[key] for key in ("commit", "dirty")},
            },
        },
        resume="allow" if logger["mode"] == "online" else None,
        # Neither machine nor command line nor source: the config says what was run.
        settings=wandb.Settings(
            silent=True,
            console="off",
            x_disable_stats=True,
            x_disable_meta=True,
            disable_git=True,
            disable_code=True,
            git_commit=code["commit"],
        ),
        **facts,
    )


def need_key() -> None:
    """Check that there is a key; wandb would ask for one.

    Raises:
        UserError: there is none.
    """
    import wandb

    if not wandb.api.api_key:
        raise UserError(
            "logger.wandb.mode=online needs a key (WANDB_API_KEY or `wandb login`); "
            "use logger.wandb.mode=offline and `wandb sync` later"
        )


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
