"""How steep a classifier's loss is around its inputs, and how well it stands a step there."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor

from suexp.callback._classifier import ClassifierSums
from suexp.callback._when import is_last
from suexp.errors import UserError
from suexp.nn.intervene import embeddings_of, heard, shifted
from suexp.task.base import Task

TINY = 1e-12


class InputRobustness(ClassifierSums):
    r"""When training is over: the mean $\|g_b\|$, and accuracy at $x_b + \epsilon g_b / \|g_b\|$.

    $g_b = \nabla_{x_b} L_b$ is the gradient of a row's own loss at what the model reads: the
    vectors (b, n, dim) of its tokens, or its input. One step with the norm of a whole row is a weak
    attack, in a space in which no text lies: it says how flat the loss is, and nothing about words
    that are exchanged. Dropout is off.

    Final metrics of the validation split, and of the test split where there is one:

    - ``val/input_grad_norm``: the mean of the norms;
    - ``val/robust_accuracy``: share of rows that are right after a step of ``epsilon``;
    - ``val/embedding_norm``: the mean norm of an embedding's rows, to which steps compare: larger
      vectors escape a given epsilon.

    The table ``attack`` has the accuracy at each of ``sizes``.

    References: https://kexue.fm/archives/7234; Goodfellow et al., Explaining and Harnessing
    Adversarial Examples, arXiv:1412.6572.

    Args:
        epsilon: length of the step.
        sizes: lengths of which the table tells the accuracy; 0 is the accuracy itself.

    Raises:
        ValueError: a negative length.
        UserError: the task does not choose one class for a row.
    """

    refuses: ClassVar[dict[str, str]] = {
        "trainer=fsdp": "a sharded network cannot be differentiated in parts; use trainer=ddp"
    }

    def __init__(
        self, epsilon: float | int = 0.5, sizes: Sequence[float | int] = (0, 0.25, 0.5, 1, 2)
    ) -> None:
        self.sizes = [float(epsilon), *map(float, sizes)]
        for size in self.sizes:
            if not 0 <= size < float("inf"):
                raise ValueError(f"a step's length must be at least 0, not {size}")
        super().__init__(2 + len(self.sizes))  # rows, norms, right at each size

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measure a batch of the last validation, or of the test split."""
        del outputs, batch_idx, dataloader_idx
        assert isinstance(pl_module, Task)
        if "label" not in batch:
            raise UserError("callback=input_robustness needs classes; use task=classification")
        if trainer.testing or is_last(trainer):
            with torch.inference_mode(False), torch.enable_grad():
                batch = {name: value.clone() for name, value in batch.items()}
                self._sums += self.measured(pl_module, batch).double().cpu()

    def measured(self, task: Task, batch: dict[str, Tensor]) -> Tensor:
        """Return rows, the sum of the norms, and how many are right at each size."""
        label, model = batch["label"], task.model

        def logits() -> Tensor:
            with heard(model) as answers:
                task.objective(batch)
            return answers[0].output

        with shifted(model) as readings:
            loss = task.normalizer.cross_entropy(logits(), label)
        vectors = [reading.vectors for reading in readings]
        slopes = torch.autograd.grad(loss, vectors)
        rows = torch.cat([slope.flatten(1) for slope in slopes], 1).float()
        norms = torch.linalg.vector_norm(rows, dim=1)
        right = []
        for size in self.sizes:
            steps = [
                slope * (size / norms.clamp(min=TINY)).view(-1, *[1] * (slope.dim() - 1))
                for slope in slopes
            ]
            with torch.no_grad(), shifted(model, steps):
                right.append((task.normalizer.best(logits()) == label).sum())
        return torch.stack([torch.tensor(len(label)).to(norms), norms.sum(), *right])

    def finish(self, split: str, sums: Tensor, task: Task) -> None:
        """Write down the means, and the table."""
        count, norms, first, *right = sums.tolist()
        if not count:
            return
        task.final |= {
            f"{split}/input_grad_norm": norms / count,
            f"{split}/robust_accuracy": first / count,
        }
        for embedding in embeddings_of(task.model)[:1]:
            size = torch.linalg.vector_norm(embedding.weight.detach().float(), dim=1).mean()
            task.final[f"{split}/embedding_norm"] = float(size)
        task.tables.pop("attack", None)
        rows = [
            {"size": size, "accuracy": hits / count}
            for size, hits in zip(self.sizes[1:], right, strict=True)
        ]
        task.record_rows("attack", rows)
