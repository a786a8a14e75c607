"""Metrics as a Weights & Biases run."""

import os
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import WandbLogger

from suexp.errors import UserError


class Wandb(WandbLogger):
    """Lightning's wandb logger: offline by default, never a prompt, no connection unless asked for.

    Group is the experiment, job type the arm, name arm-seed, id the run's signature, so that a
    resumed run and its later synchronisation (`wandb sync`) land in one place.

    Reference: https://docs.wandb.ai/models/track/log.

    Args:
        folder: the run folder; the runner gives it.
        labels: ``experiment``, ``arm``, ``name``, ``id`` and ``config``; the runner gives them.
        project: the project's name.
        mode: ``offline`` writes files only, ``online`` sends them (needs a key), ``disabled``
            writes nothing.
        entity: the team; null: the key's own.

    Raises:
        UserError: online without a key.
    """

    def __init__(
        self,
        folder: str | Path,
        project: str = "suexp",
        mode: Literal["offline", "online", "disabled"] = "offline",
        entity: str | None = None,
        **labels: Any,
    ) -> None:
        # wandb's error reports are the one connection that its offline mode would make.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        if mode == "online" and not wandb.api.api_key:
            raise UserError(
                "logger.wandb.mode=online needs a key (WANDB_API_KEY or `wandb login`); "
                "use logger.wandb.mode=offline and `wandb sync` later"
            )
        super().__init__(
            project=project,
            entity=entity,
            name=labels.get("name"),
            id=labels.get("id"),
            group=labels.get("experiment"),
            job_type=labels.get("arm"),
            save_dir=str(folder),
            mode=mode,
            config=labels.get("config"),
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(
                silent=True,
                console="off",
                x_disable_stats=True,
                disable_git=True,
                disable_code=True,
            ),
        )
