"""Adversarial training by one step: the loss where it is larger."""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from suexp.errors import one_of
from suexp.method._perturbation import Climbing, Granularity, Norm
from suexp.method.base import Batch, Objective
from suexp.nn.intervene import shifted

if TYPE_CHECKING:
    from suexp.task.base import Task


class FGM(Climbing):
    r"""$L(x + d)$ at $d = \epsilon\, g / \|g\|$, $g = \nabla_x L(x)$: a step towards a larger loss.

    x are the vectors (b, n, dim) of the tokens that the model reads, or its input. Only the
    gradient at x + d updates the weights, and d is a constant in it (``replace``, as in the post);
    a recipe in wide use adds the gradient at x (``sum``). It costs one forward pass more and a
    backward pass to x.

    To first order it is a penalty: of the raw gradient, $d = \epsilon g$, the update is that of
    $L + \frac{\epsilon}{2}\|g\|^2$, of the normalised one that of $L + \epsilon \|g\|$. FGSM is
    ``norm=linf``: $d = \epsilon\,\mathrm{sign}(g)$.

    One epsilon means very different strengths: ``matrix``, as in the post, spreads it over all
    tokens of the batch, whose occurrences move alike; ``sample`` gives it to each row, ``token`` to
    each token. Each batch of an accumulated step and each process has a d of its own. An
    output layer tied to the embedding does not move.

    Post: https://kexue.fm/archives/7234. Papers: Goodfellow et al., arXiv:1412.6572; Miyato et al.,
    Adversarial Training Methods for Semi-Supervised Text Classification, arXiv:1605.07725.

    Example:
        >>> method = FGM(epsilon=0.5)
        >>> method.granularity, method.combine
        ('matrix', 'replace')

    Args:
        epsilon: the norm of d; 0.5 in the post. 0: the plain loss.
        granularity: what has one norm: ``matrix``, ``sample`` or ``token``.
        norm: ``l2``, or ``linf``, whose largest step is that of the signs.
        combine: ``replace``, or ``sum`` of the losses at x and at x + d.
        normalize: false: $d = \epsilon g$.
        same_dropout: both passes drop the same; false as in the post.

    Raises:
        ValueError: a value out of range, or a norm with ``normalize=false``; when attached,
            ``matrix`` without an embedding.
    """

    def __init__(
        self,
        epsilon: float | int = 0.5,
        granularity: Granularity = "matrix",
        norm: Norm = "l2",
        combine: Literal["replace", "sum"] = "replace",
        normalize: bool = True,
        same_dropout: bool = False,
    ) -> None:
        super().__init__(epsilon, granularity, norm, same_dropout)
        one_of(("replace", "sum"), combine=combine)
        if norm == "linf" and not normalize:
            raise ValueError("norm=linf takes the gradient's signs; set normalize=true")
        self.combine, self.normalize = combine, normalize

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the loss at x + d, or the sum of both."""
        if self.epsilon == 0 or not torch.is_grad_enabled():
            return inner(batch)
        both = self.combine == "sum"
        clean, ball, slope = self.climb(task, batch, inner, keep=both)
        steps = ball.unit(slope) if self.normalize else slope
        with shifted(task.model, ball.push([self.epsilon * step for step in steps])):
            moved = inner(batch)
        return clean + moved if both else moved
