"""How alike the vectors of places are."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import Callback

from suexp.callback._when import is_first
from suexp.component import Component
from suexp.errors import UserError
from suexp.task.base import Task


class PositionCosine(Callback, Component):
    r"""Before and after training: $\cos(q_s, q_t)$ of the vectors that places add to embeddings.

    Shapes: the table q (max_length, dim), of which ``points`` rows evenly apart are compared. Rows
    of the table ``position_cosine``: when, row, column, cosine. Hierarchical codes
    (https://kexue.fm/archives/7947) show the pattern of the first block in every block.

    Args:
        points: places along each side.

    Raises:
        ValueError: fewer than 2 points.
        UserError: positions that add nothing to the embeddings.
    """

    needs: ClassVar[dict[str, str]] = {
        "position=learned or position=hierarchical": "it compares vectors that are added to "
        "embeddings; use position=learned or position=hierarchical"
    }

    def __init__(self, points: int = 32) -> None:
        if points < 2:
            raise ValueError(f"points={points}: at least 2")
        self.points = points

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the cosines before the first step."""
        if is_first(trainer):
            self._measure(pl_module, "before training")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the cosines after the last step."""
        del trainer
        self._measure(pl_module, "after training")

    @torch.no_grad()
    def _measure(self, task: Any, when: str) -> None:
        assert isinstance(task, Task)
        position: Any = getattr(task.model, "position", None)
        length, table = getattr(position, "max_length", None), getattr(position, "embedding", None)
        if length is None or table is None:
            raise UserError(
                "callback=position_cosine compares positions that are added to embeddings; use "
                "position=learned or position=hierarchical"
            )
        places = torch.arange(length, device=task.device)
        nothing = torch.zeros(1, length, table.embedding_dim, device=task.device)
        rows = position.embed(nothing, places)[0, :: -(-length // self.points)].float()
        cosine = F.normalize(rows, dim=-1) @ F.normalize(rows, dim=-1).T
        step = -(-length // self.points)
        task.record_rows(
            "position_cosine",
            [
                {"when": when, "row": i * step, "column": j * step, "cosine": round(value, 4)}
                for i, values in enumerate(cosine.tolist())
                for j, value in enumerate(values)
            ],
        )
