"""The notebook interface: compose, build, run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from suexp.code.trust import allowed
from suexp.config.compose import compose
from suexp.launch.spec import spec_of

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule

__all__ = ["Summary", "build", "compose", "run"]


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        id: the run's signature.
        status: ``finished`` or ``failed``.
        error: why it failed.
        metrics: final metrics by name.
        cost: parameters, flops_per_step, flops (of all steps, its parents' included), wall_seconds,
            peak_memory_bytes, steps.
        folder: the run folder.
    """

    id: str
    status: str
    error: str | None
    metrics: dict[str, float]
    cost: dict[str, Any]
    folder: Path

    def history(self) -> list[dict[str, Any]]:
        """Return the metrics by step."""
        from suexp.store.folder import read_history

        return read_history(self.folder / "metrics.jsonl")


def build(cfg: DictConfig) -> "LightningModule":
    """Return the LightningModule of a composed config, its data set prepared.

    Raises:
        UserError: a component refuses its arguments.
    """
    from suexp.code.instantiate import instantiate
    from suexp.job.build import build as build_task

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    config["allow_targets"] = allowed(config["allow_targets"])
    return build_task(config, instantiate(config["data"], config["allow_targets"]))


def run(overrides: Sequence[str] = (), config_dir: str | None = None) -> Summary:
    """Run, resume or find the run of these overrides.

    Raises:
        UserError: the overrides cannot be composed, or cannot work together.
    """
    from suexp.job.run import execute
    from suexp.launch.progress import Progress

    spec = spec_of(overrides, config_dir)
    summary = execute(spec, bar=Progress)
    return Summary(
        id=summary["id"],
        status=summary["status"],
        error=summary["error"],
        metrics=summary.get("metrics", {}),
        cost=summary["cost"],
        folder=spec.folder,
    )
