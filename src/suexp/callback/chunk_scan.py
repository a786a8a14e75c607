"""Gradient errors against the size of the chunk, and memory against the size of the batch."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.component import Component
from suexp.errors import UserError, at_least, some
from suexp.method._chunked import relative_error
from suexp.method.base import Method
from suexp.method.grad_cache import GradCache
from suexp.method.naive_accumulation import NaiveAccumulation
from suexp.nn.passes import as_if_nothing_happened
from suexp.nn.saved import SavedBytes
from suexp.task.base import Task


class ChunkScan(Callback, Component):
    r"""At the end: $|g - g^*| / |g^*|$ by chunk size, and bytes that graphs hold by batch size.

    $g^*$ is the gradient of one training batch in one piece, g that of method=grad_cache or
    naive_accumulation, all with the final weights. The bytes are the peak over forward and backward
    pass (see `suexp.nn.saved`). https://kexue.fm/archives/8471 and arXiv:2101.06983.

    Recorded: table ``chunk`` with rows (method, chunk, error) at the batch size of the data, and
    table ``memory`` with rows (method, batch, bytes) at ``chunk``; there method ``loss`` is what
    the loss holds from the vectors on, whatever the encoder: the vectors and their table of scores.
    Final: that of the data's batch, ``train/loss_bytes``.

    Args:
        chunk_sizes: rows of the chunks whose error is measured.
        batch_sizes: rows of the batches whose memory is measured.
        chunk: rows of the chunks there.
    """

    needs: ClassVar[dict[str, str]] = {
        "loss_on_vectors": "it differentiates losses on vectors; use task=matching"
    }

    def __init__(
        self,
        chunk_sizes: tuple[int, ...] | list[int] = (2, 8, 32, 128, 256),
        batch_sizes: tuple[int, ...] | list[int] = (32, 64, 128, 256, 512, 1024),
        chunk: int = 16,
    ) -> None:
        some(chunk_sizes=chunk_sizes, batch_sizes=batch_sizes)
        at_least(1, chunk_sizes=chunk_sizes, batch_sizes=batch_sizes, chunk=chunk)
        self.chunk_sizes, self.batch_sizes, self.chunk = chunk_sizes, batch_sizes, chunk

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure; weights, gradients and random generators are left as they were."""
        task = pl_module
        assert isinstance(task, Task)
        if not hasattr(task, "loss_from_vectors"):
            raise UserError(
                "callback=chunk_scan differentiates losses on vectors; use task=matching"
            )
        loading: Any = trainer.datamodule  # type: ignore[attr-defined]
        rows, size = loading.splits["train"], loading.data.batch_size
        largest = min(max(size, *self.batch_sizes), len(rows))
        whole = task.received(loading.data.collate([rows[i] for i in range(largest)]))
        with as_if_nothing_happened(task, whole), torch.enable_grad():
            batch = {name: value[:size] for name, value in whole.items()}
            direct = _gradient(task, batch, None)
            for method in (GradCache, NaiveAccumulation):
                for chunk in self.chunk_sizes:
                    error = relative_error(_gradient(task, batch, method(chunk)), direct)
                    task.record_rows(
                        "chunk", [{"method": _name(method), "chunk": chunk, "error": error}]
                    )
            known = [*task.parameters(), *task.buffers(), *whole.values()]
            task.final["train/loss_bytes"] = float(_loss_bytes(task, batch, known))
            for number in self.batch_sizes:
                part = {name: value[:number] for name, value in whole.items()}
                if number > largest:
                    break
                row = {"method": "loss", "batch": number, "bytes": _loss_bytes(task, part, known)}
                task.record_rows("memory", [row])
                for kind in (None, GradCache):
                    with SavedBytes(known) as meter:
                        _gradient(task, part, None if kind is None else kind(self.chunk))
                    row = {"method": _name(kind), "batch": number, "bytes": meter.peak}
                    task.record_rows("memory", [row])


def _name(method: type[Method] | None) -> str:
    names: dict[type[Method] | None, str] = {
        None: "direct",
        GradCache: "grad_cache",
        NaiveAccumulation: "naive",
    }
    return names[method]


def _loss_bytes(task: Any, batch: dict[str, Tensor], known: list[Tensor]) -> int:
    """Return the bytes that the loss alone holds, from the vectors on."""
    with torch.no_grad():
        vectors = task.encode(batch)
    vectors = {name: value.requires_grad_() for name, value in vectors.items()}
    with SavedBytes(known) as meter:
        torch.autograd.grad(task.loss_from_vectors(vectors, batch), list(vectors.values()))
    return meter.peak


def _gradient(task: Task, batch: dict[str, Tensor], method: Method | None) -> list[Tensor | None]:
    loss = (
        task.objective(batch) if method is None else method.objective(task, batch, task.objective)
    )
    parameters = [p for p in task.parameters() if p.requires_grad]
    return list(torch.autograd.grad(loss, parameters, allow_unused=True))
