"""What a classifier would choose if it went by its largest score."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.callback._classifier import ClassifierSums
from suexp.task.base import Task


class LogitArgmax(ClassifierSums):
    r"""Share of rows for which the largest logit is right, beside the most probable class.

    With softmax both are one. A Taylor polynomial grows on its negative side, too
    (https://kexue.fm/archives/7919), and there $\arg\max_c z_c$ is not $\arg\max_c p_c$.
    Logits have the shape (b, classes), labels (b,). Metrics of the validation and test splits:

    - ``val/accuracy_by_logit``: share of rows whose largest logit is the label's;
    - ``val/negative_share``: share of rows whose most probable class has a logit below 0.

    Reference: Banerjee et al., Exploring Alternatives to Softmax Function, arXiv:2011.11538.

    Raises:
        UserError: the task does not choose one class for a row.
    """

    def __init__(self) -> None:
        super().__init__(3)  # rows, right, negative

    def add(
        self, sums: Tensor, logits: Float[Tensor, "b c"], label: Int[Tensor, " b"], task: Task
    ) -> None:
        """Count rows, those whose largest logit is right, and those chosen by a negative one."""
        chosen = logits.gather(1, task.normalizer.best(logits)[:, None])
        counts = [torch.ones_like(label), logits.argmax(-1) == label, chosen < 0]
        sums += torch.stack([count.double().sum() for count in counts]).cpu()

    def finish(self, split: str, sums: Tensor, task: Task) -> None:
        """Log the shares."""
        rows, right, negative = sums.tolist()
        names = {"accuracy_by_logit": right, "negative_share": negative}
        task.report({f"{split}/{name}": count / max(rows, 1) for name, count in names.items()})
