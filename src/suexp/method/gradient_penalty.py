"""A penalty on the loss's gradient at what the model reads."""

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from suexp.errors import at_least, one_of
from suexp.method._perturbation import gradients, seen
from suexp.method.base import Batch, Method, Objective
from suexp.nn.intervene import shifted
from suexp.nn.passes import twice_differentiable

if TYPE_CHECKING:
    from suexp.task.base import Task


class GradientPenalty(Method):
    r"""$L + \frac{\epsilon}{2} \|v\|^2$ with $v = \nabla_x L$, or $L + \epsilon \|v\|$.

    x are the vectors (b, n, dim) of the tokens that the model reads, or its input; v is the
    gradient at each place, so that repeated tokens do not add up. Gradients go through v: the
    network is differentiated twice, for which attention takes its plain kernel. To first order it
    is `suexp.method.fgm.FGM`.

    L is the mean over a batch of B rows, and so v is 1 / B of the rows' own gradients $g_b$.
    ``batch_mean``, the post's, is $\frac{\epsilon}{2B} \cdot \frac1B \sum_b \|g_b\|^2$ and grows
    weaker with the batch (of a process, of an accumulated step); ``per_sample`` is B times as
    strong, $\frac{\epsilon}{2B} \sum_b \|g_b\|^2$, where each row's loss counts alike.

    Post: https://kexue.fm/archives/7234. Paper: Ross and Doshi-Velez, Improving the Adversarial
    Robustness and Interpretability of Deep Neural Networks by Regularizing their Input Gradients,
    arXiv:1711.09404.

    Example:
        >>> GradientPenalty(epsilon=0).reduction
        'batch_mean'

    Args:
        epsilon: the penalty's weight; 1 in the post. 0: the plain loss.
        reduction: ``batch_mean`` or ``per_sample``.
        form: ``squared``, or ``norm``: of the whole batch, or with ``per_sample`` the mean of the
            rows' norms.

    Raises:
        ValueError: a value out of range; when a step is computed, a network in float16.
    """

    provides: ClassVar[set[str]] = {"moved_input", "second_order"}
    refuses: ClassVar[dict[str, str]] = {
        "adversarial": "its critic has a penalty of its own; use method=wgan_gp",
        "density_training": "its loss compares with the very input that would move; leave it out",
        "density_fitting": "its loss is a density at the very input; leave it out",
        "other_embeddings": "the predecessor's embeddings would have no gradient; set "
        "method.theseus.replace_embeddings=false",
        "loss_on_vectors": "a row's loss depends on the rows of all processes, through which it "
        "cannot be differentiated twice; use method=fgm",
        "trainer=fsdp": "a sharded network cannot be differentiated twice; use trainer=ddp",
    }
    order: ClassVar[int] = -10

    def __init__(
        self,
        epsilon: float | int = 1.0,
        reduction: Literal["batch_mean", "per_sample"] = "batch_mean",
        form: Literal["squared", "norm"] = "squared",
    ) -> None:
        super().__init__()
        at_least(0, epsilon=epsilon)
        one_of(("batch_mean", "per_sample"), reduction=reduction)
        one_of(("squared", "norm"), form=form)
        self.epsilon, self.reduction, self.form = epsilon, reduction, form

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the loss and its penalty.

        Raises:
            ValueError: what is read is in float16, in which squares of gradients are lost.
        """
        if self.epsilon == 0 or not torch.is_grad_enabled():
            return inner(batch)
        with twice_differentiable(task.model), shifted(task.model) as readings:
            loss = inner(batch)
        if any(reading.vectors.dtype == torch.float16 for reading in seen(task, readings)):
            raise ValueError(
                "method=gradient_penalty: squares of gradients are lost in float16; use "
                "trainer.precision=bf16-mixed"
            )
        return loss + self.penalty(gradients(task, loss, readings, create_graph=True))

    def penalty(self, slopes: list[Tensor]) -> Tensor:
        """Return what is added to the loss whose gradients at the readings these are."""
        rows = torch.cat([slope.flatten(1) for slope in slopes], 1)
        if self.form == "squared":
            strength = len(rows) if self.reduction == "per_sample" else 1
            return self.epsilon / 2 * strength * rows.square().sum()
        if self.reduction == "per_sample":
            return self.epsilon * torch.linalg.vector_norm(rows, dim=1).sum()
        return self.epsilon * torch.linalg.vector_norm(rows)
