"""What `PathKernel` records for its figures."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.task.base import Task

SHOWN = 40  # rows and columns of the kernel that are recorded
EXPLAINED = 3  # probes whose most influential rows are recorded


def record(
    task: Task,
    outputs: Mapping[str, Tensor],
    probe_answer: Tensor,
    train_answer: Tensor,
    kernel: Float[Tensor, "m n"],
    weighted: Float[Tensor, "m n"],
) -> None:
    """Record the tables ``path_outputs``, ``path_kernel`` and ``influence``.

    Args:
        task: whose tables they are.
        outputs: of the network and of the machines, by name, (m,).
        probe_answer: labels or targets of the probes.
        train_answer: the same of the training rows.
        kernel: $K^p$.
        weighted: W.
    """
    for table in ("path_outputs", "path_kernel", "influence"):
        task.tables.pop(table, None)
    probe_answer, train_answer, kernel, weighted = (
        probe_answer.double().cpu(),
        train_answer.double().cpu(),
        kernel.cpu(),
        weighted.cpu(),
    )
    values = {name: value.tolist() for name, value in outputs.items()}
    task.record_rows(
        "path_outputs",
        [
            {"probe": i, "answer": answer, **{name: row[i] for name, row in values.items()}}
            for i, answer in enumerate(probe_answer.tolist())
        ],
    )
    part = kernel[_spread(probe_answer)][:, _spread(train_answer)]
    task.record_rows(
        "path_kernel",
        [
            {"probe": i, "row": j, "value": value}
            for i, line in enumerate(part.tolist())
            for j, value in enumerate(line)
        ],
    )
    for i in range(min(EXPLAINED, len(probe_answer))):
        top = weighted[i].abs().topk(min(10, len(train_answer))).indices
        rows = [
            {
                "probe": i,
                "rank": rank,
                "row": row,
                "weight": -float(weighted[i, row]),
                "answer": float(train_answer[row]),
                "of_probe": float(probe_answer[i]),
            }
            for rank, row in enumerate(top.tolist(), 1)
        ]
        task.record_rows("influence", rows)


def _spread(answer: Tensor) -> Tensor:
    """Return some of the rows, evenly among those that are sorted by their answer."""
    across = torch.linspace(0, len(answer) - 1, min(SHOWN, len(answer))).long()
    return answer.argsort(stable=True)[across]
