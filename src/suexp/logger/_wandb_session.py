"""Runs of Weights & Biases: offline unless asked otherwise, never a prompt."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suexp.errors import UserError

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
