"""Virtual adversarial training: predictions that stay as they are nearby."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from suexp.errors import at_least
from suexp.method._divergence import divergence
from suexp.method._perturbation import Climbing, Granularity, gradients
from suexp.method.base import Batch, Objective
from suexp.nn.intervene import Reading, heard, shifted
from suexp.nn.passes import RandomState, as_if_nothing_happened

if TYPE_CHECKING:
    from suexp.task.base import Task


class VAT(Climbing):
    r"""$L(x) + \mathrm{KL}(p(x) \,\|\, p(x + \epsilon\, u / \|u\|))$, u where p changes most.

    From $u \sim N(0, I)$, ``iters`` times, $u \leftarrow \nabla_u \mathrm{KL}(p(x) \,\|\, p(x + \xi
    u / \|u\|))$: the power iteration for the largest eigenvalue of the Kullback-Leibler
    divergence's Hessian. p is softmax of the logits, (b, C) or those of each predicted token
    (k, V); p(x) is a constant, and the divergence a mean over b or k, in nats. No label is used. x
    are the vectors (b, n, dim) of the tokens, or the model's input. It costs 1 + iters forward
    passes more.

    A $\xi$ as large as the post's is no infinitesimal: u answers to what happens that far away.

    Post: https://kexue.fm/archives/7466 (epsilon 1, $\xi$ 10, the whole embedding matrix). Paper:
    Miyato et al., Virtual Adversarial Training, arXiv:1704.03976.

    Example:
        >>> VAT(iters=2).iters
        2

    Args:
        epsilon: how far it looks; 0: the plain loss.
        xi: how far it goes to find the direction, above 0.
        iters: steps of the iteration.
        granularity: what has one norm: ``matrix``, ``sample`` or ``token``.
        same_dropout: all passes drop the same. Otherwise p changes by dropout alone, and u follows
            that, too.

    Raises:
        ValueError: a value out of range; when attached, ``matrix`` without an embedding; when a
            step is computed, a model that returns no logits.
    """

    refuses: ClassVar[dict[str, str]] = {
        "perturbs": "both pass the batch several times to find a direction; leave one of them out",
        "adversarial": "its two players predict nothing; leave it out",
        "density_training": "it predicts nothing; leave it out",
        "density_fitting": "it predicts nothing; leave it out",
        "loss_on_vectors": "its model gives vectors, not logits; use method=fgm",
        "tags": "the labels of a text may depend on each other; use method=fgm",
        "other_embeddings": "the predecessor's embeddings would not move; set "
        "method.theseus.replace_embeddings=false",
        "other_weights": "it compares softmax's probabilities; use normalizer=softmax",
        "trainer=fsdp": "a sharded network cannot be differentiated in parts; use trainer=ddp",
    }

    def __init__(
        self,
        epsilon: float | int = 1.0,
        xi: float | int = 10.0,
        iters: int = 1,
        granularity: Granularity = "matrix",
        same_dropout: bool = True,
    ) -> None:
        super().__init__(epsilon, granularity, "l2", same_dropout)
        at_least(0, xi=xi)
        at_least(1, iters=iters)
        if xi == 0:
            raise ValueError("xi must be above 0: without a step there is no direction")
        self.xi, self.iters = xi, iters

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the loss and the divergence.

        Raises:
            ValueError: the task does not ask its model for logits.
        """
        if self.epsilon == 0 or not torch.is_grad_enabled():
            return inner(batch)
        states: list[RandomState] = []
        handle = task.model.register_forward_pre_hook(lambda *_: states.append(RandomState(batch)))
        try:
            with shifted(task.model) as readings, heard(task.model) as calls:
                loss = inner(batch)
        finally:
            handle.remove()
        ball = self.ball(task, readings)
        if not all(isinstance(call.output, Tensor) for call in calls):
            raise ValueError(
                "method=vat needs a model whose forward returns logits; use task=classification "
                "or a language model"
            )

        def change(at: list[Tensor]) -> tuple[Tensor, list[Reading]]:
            found = []
            with shifted(task.model, ball.push(at)) as moved:
                for call, state in zip(calls, states, strict=True):
                    if self.same_dropout:
                        state.restore()
                    logits = task.model(*call.args, **call.kwargs)
                    keep = call.kwargs.get("keep") if logits.dim() == 3 else None
                    found.append(divergence(logits, call.output.detach(), 1.0, keep))
            return torch.stack(found).mean(), moved

        direction = ball.drawn()
        end = RandomState(batch)
        for _ in range(self.iters):
            with self.look(task, batch):
                rise, moved = change([self.xi * part for part in ball.unit(direction)])
                slopes = gradients(task, rise, moved)
            direction = ball.pull(slopes)
        with as_if_nothing_happened(task, batch, draws=False):
            rise, _ = change([self.epsilon * part for part in ball.unit(direction)])
        if self.same_dropout:
            end.restore()
        return loss + rise
