"""Decoder inputs with errors in them, so that a model learns to go on after its own."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from suexp.errors import one_of
from suexp.method.base import Batch, Method, Objective
from suexp.nn.ramp import Number, ramp
from suexp.nn.replacement import POOLS, Pool, generator_of, replaced

if TYPE_CHECKING:
    from suexp.task.base import Task


class RandomReplacement(Method):
    r"""$L = -\sum_t \log p(y_t | x, \tilde y_{<t})$, $\tilde y$ the target with random errors.

    Teacher forcing trains on true prefixes alone. Here a row has errors with the probability
    ``p_sample``; in such a row each token of the target, (b, n) with the one that closes it, is
    replaced with the probability ``p_token`` where the model reads it. The answers stay the true
    tokens, and all places still train at once. Draws depend on the seed, the step and the rows'
    place: passes of one step agree on them, and a resumed run repeats them.

    ``pool`` is where a replacement is drawn from: the row's own ``target`` as in the post, the
    whole ``sequence`` as in the author's code, the ``vocab``, or the ``model``: what it predicts
    there after the true prefix, in a pass of its own without gradients (scheduled sampling in
    two parallel passes).

    Post: https://kexue.fm/archives/7259. Of two passes: Mihaylova and Martins, Scheduled Sampling
    for Transformers, arXiv:1906.07651.

    Example:
        >>> method = RandomReplacement(p_token={"start": 0.0, "end": 0.3, "steps": 200})
        >>> method.p_token(100)
        0.15

    Args:
        p_sample: share of the rows that have errors; 0.5 in the post.
        p_token: share of their target tokens that are replaced, 0.3 in the post; may be a ramp
            ``{start, end, steps, kind}`` over the steps.
        pool: ``target``, ``sequence``, ``vocab`` or ``model``.
        keep_special: neither replace nor draw tokens that begin and end texts.
        seed: of the draws.

    Raises:
        ValueError: a probability outside [0, 1].
    """

    needs: ClassVar[dict[str, str]] = {
        "prefix_length": "it needs to know which tokens are the target; use task=seq2seq"
    }
    order: ClassVar[int] = -50

    def __init__(
        self,
        p_sample: Number = 0.5,
        p_token: Number = 0.3,
        pool: Pool = "target",
        keep_special: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        one_of(POOLS, pool=pool)
        self.p_sample = ramp(p_sample, "p_sample", low=0, high=1)
        self.p_token = ramp(p_token, "p_token", low=0, high=1)
        self.pool, self.keep_special, self.seed = pool, keep_special, seed

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the loss on a target with errors in it."""
        p_sample, p_token = self.p_sample(task.global_step), self.p_token(task.global_step)
        if p_sample == 0 or p_token == 0 or not torch.is_grad_enabled():
            return inner(batch)
        rank, _ = task.place
        generator = generator_of(self.seed, task.global_step, task.first_row, rank)
        inputs = replaced(task, batch, self.pool, p_sample, p_token, generator, self.keep_special)
        return inner({**batch, "inputs": inputs})
