"""Adversarial training by several steps within a ball."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from suexp.errors import at_least
from suexp.method._perturbation import Climbing, Granularity, Norm
from suexp.method.base import Batch, Objective
from suexp.nn.intervene import shifted

if TYPE_CHECKING:
    from suexp.task.base import Task


class PGD(Climbing):
    r"""$L(x + d_K)$ with $d_{k+1} = \Pi_{\|d\| \le \epsilon}(d_k + \alpha\, g_k / \|g_k\|)$.

    $g_k = \nabla_x L(x + d_k)$, $d_0 = 0$ or uniform in the ball; of shapes and norms as
    `suexp.method.fgm.FGM`, which is K = 1 with $\alpha = \epsilon$. Only the gradient at $x + d_K$
    updates the weights. It costs K forward passes more, each with a backward pass to x.

    Post: https://kexue.fm/archives/7234, which judges it not worth its cost. Paper: Madry et al.,
    Towards Deep Learning Models Resistant to Adversarial Attacks, arXiv:1706.06083.

    Example:
        >>> PGD(epsilon=1.0).alpha
        0.5

    Args:
        epsilon: the ball's radius. 0: the plain loss.
        alpha: a step's size; None: epsilon / 2.
        steps: K; 3 in the post's comparison.
        random_start: begin uniformly in the ball, for one forward pass more.
        granularity: what has one norm: ``matrix``, ``sample`` or ``token``.
        norm: ``l2``, or ``linf`` with the gradient's signs.
        same_dropout: all passes drop the same.

    Raises:
        ValueError: a value out of range; when attached, ``matrix`` without an embedding.
    """

    def __init__(
        self,
        epsilon: float | int = 1.0,
        alpha: float | None = None,
        steps: int = 3,
        random_start: bool = False,
        granularity: Granularity = "matrix",
        norm: Norm = "l2",
        same_dropout: bool = False,
    ) -> None:
        super().__init__(epsilon, granularity, norm, same_dropout)
        at_least(0, alpha=alpha)
        at_least(1, steps=steps)
        self.alpha = epsilon / 2 if alpha is None else alpha
        self.steps, self.random_start = steps, random_start

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the loss after the last step."""
        if self.epsilon == 0 or not torch.is_grad_enabled():
            return inner(batch)
        at: list[Tensor] | None = None
        place: list[Tensor] | None = None
        if self.random_start:
            with self.look(task, batch), torch.no_grad(), shifted(task.model) as readings:
                inner(batch)
            ball = self.ball(task, readings)
            place = ball.within(self.epsilon)
            at = ball.push(place)
        for _ in range(self.steps):
            _, ball, slope = self.climb(task, batch, inner, at)
            steps = [self.alpha * step for step in ball.unit(slope)]
            if place is not None:
                steps = [old + step for old, step in zip(place, steps, strict=True)]
            place = ball.inside(steps, self.epsilon)
            at = ball.push(place)
        with shifted(task.model, at):
            return inner(batch)
