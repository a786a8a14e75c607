"""Metrics as a table of comma-separated values."""

from pathlib import Path

from pytorch_lightning.loggers import CSVLogger


class CSV(CSVLogger):
    """Lightning's CSV logger, writing metrics.csv into the run folder.

    Reference: https://lightning.ai/docs/pytorch/stable/extensions/logging.html.

    Args:
        folder: the run folder; the runner gives it.
    """

    def __init__(self, folder: str | Path, **labels: object) -> None:
        del labels
        super().__init__(save_dir=folder, name="", version="")
