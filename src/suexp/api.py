"""The notebook interface: compose, build, run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from suexp.code.trust import allowed
from suexp.config.compose import compose
from suexp.config.quoting import words
from suexp.launch.spec import spec_of
from suexp.store.summary import Summary

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule

__all__ = ["Summary", "build", "compose", "run"]


def build(cfg: DictConfig) -> "LightningModule":
    """Return the LightningModule of a composed config, its data set prepared.

    Raises:
        UserError: a component refuses its arguments.
    """
    from suexp.job.build import build as build_task
    from suexp.job.build import data_of

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    config["allow_targets"] = allowed(config["allow_targets"])
    return build_task(config, data_of(config))


def run(overrides: str | Sequence[str] = (), config_dir: str | None = None) -> Summary:
    """Run, resume or find the run of these overrides.

    Args:
        overrides: as on the command line: a string with blanks between them, or a list.
        config_dir: a folder with options of one's own.

    Raises:
        UserError: the overrides cannot be composed, or cannot work together.
    """
    from suexp.job.run import execute
    from suexp.launch.progress import Progress

    return execute(spec_of(words(overrides), config_dir), bar=Progress)
