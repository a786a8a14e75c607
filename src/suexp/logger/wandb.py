"""Metrics as a Weights & Biases run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from suexp.logger._rows import Rows
from suexp.logger._run import RunLogger
from suexp.logger._wandb_session import ONLINE, begin, need_key
from suexp.store.provenance import provenance
from suexp.store.summary import Summary, finals

# The groups whose options a run is found by; its config holds the others as well.
TAGGED = ("task", "data", "model", "attention", "position", "loss", "optimizer", "scheduler")


class Wandb(RunLogger):
    """A wandb run: group the experiment, job type the arm, name arm-seed, id the run's own.

    A row of its history is a step of the trainer's, with its number. Offline by default; ``wandb
    sync`` sends it later. A run that goes on after an interruption begins with what metrics.jsonl
    holds already, in a new folder instead of the old one: a killed process had not yet written all
    of it, and ``wandb sync`` uploads one folder a run, each from its first row. (Lightning's own
    logger numbers the rows itself: what is trained twice would stand there twice.)

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
        super().__init__(folder)
        self._settings = {"project": project, "mode": mode, "entity": entity}
        self._labels = labels
        self._run: Any = None
        self._rows = Rows(self.folder)
        if mode == "online":
            need_key(*ONLINE)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The wandb run; it begins when it is first asked for."""
        if self._run is None:
            labels = self._labels
            self._run = begin(
                self._settings,
                self.folder,
                provenance(),
                labels["config"],
                id=labels["id"],
                name=labels["name"],
                group=labels["experiment"],
                job_type=labels["arm"],
                tags=tags(labels["config"]),
                resume="allow",
            )
        return self._run

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add to the row of a step; the first time, to all rows up to it."""
        for at, values in self._rows.until(metrics, step):
            self.experiment.log(values, step=at)

    @rank_zero_only
    def end(self, summary: Summary) -> None:
        """End the wandb run, if it ever began, with final metrics and costs."""
        if self._run is None:
            return
        self._run.log({}, commit=True)  # the last row, which would come after the summary
        self._run.summary.update(
            {
                **finals({"metrics": summary.metrics, "cost": summary.cost}),
                "status": summary.status.value,
                "error": summary.error,
            }
        )
        self._run.finish(exit_code=summary.exit_code)


def tags(config: Mapping[str, Any]) -> list[str]:
    """Return what runs are filtered by: experiment, scale and the options of `TAGGED` groups."""
    found = [config["run"]["experiment"], config["scale"]["name"]]
    for group in TAGGED:
        target = (config.get(group) or {}).get("_target_", "")
        if target:  # suexp.optimizer.lion.Lion
            found.append(f"{group}={target.split('.')[-2]}")
    found += [f"method={name}" for name in config.get("method") or {}]
    return [tag[:64] for tag in found if tag]
