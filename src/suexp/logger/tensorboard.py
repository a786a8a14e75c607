"""Metrics as TensorBoard event files."""

from pathlib import Path

from pytorch_lightning.loggers import TensorBoardLogger


class TensorBoard(TensorBoardLogger):
    """Lightning's TensorBoard logger, writing into tensorboard/ of the run folder.

    Reference: https://www.tensorflow.org/tensorboard.

    Args:
        folder: the run folder; the runner gives it.
    """

    def __init__(self, folder: str | Path, **labels: object) -> None:
        del labels
        super().__init__(save_dir=folder, name="", version="tensorboard")
