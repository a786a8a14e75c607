"""Metrics as TensorBoard event files."""

from collections.abc import Mapping
from pathlib import Path

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from suexp.logger._rows import Rows


class TensorBoard(TensorBoardLogger):
    """Lightning's TensorBoard logger, writing into tensorboard/ of the run folder.

    A run that goes on after an interruption writes its events anew from metrics.jsonl: a killed
    process loses those of up to two minutes.

    Reference: https://www.tensorflow.org/tensorboard.

    Args:
        folder: the run folder; the runner gives it.
    """

    def __init__(self, folder: str | Path, **labels: object) -> None:
        del labels
        super().__init__(save_dir=folder, name="", version="tensorboard")
        self._rows = Rows(Path(folder))
        self._forget()

    @rank_zero_only
    def _forget(self) -> None:
        for events in Path(self.log_dir).glob("events.*"):
            events.unlink()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write events; the first time, of all steps up to this one."""
        for at, values in self._rows.until(metrics, step):
            super().log_metrics(values, at)
