"""How far a student's similarities are from its teacher's."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import at_least
from suexp.method.similarity_distill import cosine_gap
from suexp.nn.gather import gather_rows
from suexp.nn.replacement import generator_of
from suexp.task.similar_sentence import firsts


class TeacherCosines(Callback, Component):
    r"""Once training is over: $\sqrt{\frac{1}{n^2} \sum_{ij} (\cos(u_i, u_j) - \cos(v_i, v_j))^2}$.

    u (n, c) are the teacher's vectors of all sentences of the validation split, v (n, d) the
    student's, both without noise; the teacher is that of method=similarity_distill, which has one
    with ``weight=0``, too, for a control. Final: ``val/cosine_rms``. The table ``cosines`` has
    ``teacher``, ``student`` and ``similar``, whether the two are of one cluster, of some pairs.

    Post: https://kexue.fm/archives/8454.

    Args:
        pairs: how many pairs of different sentences the table has, half of them of one cluster.

    Raises:
        ValueError: fewer than 2 pairs.
    """

    needs: ClassVar[dict[str, str]] = {
        "teacher_vectors": "it compares with a teacher; use method=similarity_distill"
    }

    def __init__(self, pairs: int = 400) -> None:
        at_least(2, pairs=pairs)
        self.pairs = pairs
        self._seen: list[dict[str, Tensor]] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget what was seen before."""
        del trainer, pl_module
        self._seen = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep both vectors of a batch of the last validation."""
        del outputs, batch_idx, dataloader_idx
        if not is_last(trainer):
            return
        task: Any = pl_module
        method = next(one for one in task.methods if hasattr(one, "teacher_vectors"))
        self._seen.append(
            {
                "teacher": method.teacher_vectors(task, batch).float(),
                "student": task.source_vectors(batch).float(),
                "text": batch["text"],
                "cluster": batch["cluster"],
            }
        )

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write down how far apart they are."""
        if not is_last(trainer):
            return
        task: Any = pl_module
        seen, self._seen = self._seen, []
        whole = {name: gather_rows(torch.cat([part[name] for part in seen])) for name in seen[0]}
        first = firsts(whole["text"])
        u, v, cluster = (whole[name][first] for name in ("teacher", "student", "cluster"))
        task.final["val/cosine_rms"] = float(cosine_gap(u, v).sqrt())
        task.tables.pop("cosines", None)
        task.record_rows("cosines", self._rows(u, v, cluster))

    def _rows(self, u: Tensor, v: Tensor, cluster: Tensor) -> list[dict[str, Any]]:
        similar = cluster[:, None] == cluster
        upper = torch.ones_like(similar).triu(1)
        first, second = (F.normalize(x, dim=-1) for x in (u, v))
        rows = []
        for same in (True, False):
            i, j = (upper & (similar == same)).nonzero(as_tuple=True)
            order = torch.randperm(len(i), generator=generator_of(0))[: self.pairs // 2]
            i, j = i[order.to(i.device)], j[order.to(i.device)]
            teacher, student = ((x[i] * x[j]).sum(-1).tolist() for x in (first, second))
            rows += [
                {"teacher": a, "student": b, "similar": same}
                for a, b in zip(teacher, student, strict=True)
            ]
        return rows
