"""What every logger of a run has in common."""

from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger

from suexp.store.summary import Summary


class RunLogger(Logger):
    """A logger that is named by its run's folder; config.yaml there holds the config.

    Args:
        folder: the run folder; the runner gives it.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)

    @property
    def name(self) -> str:
        """The run's id."""
        return self.folder.name

    @property
    def version(self) -> str:
        """Always empty: the signature is the version."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.folder)

    def end(self, summary: Summary) -> None:
        """Hear how the run ended; nothing follows.

        Args:
            summary: what summary.json holds.
        """

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the folder's config.yaml holds them all."""
