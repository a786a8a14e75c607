"""What the losses over scores of classes, and those for tagging, keep.

Those over scores provide ``class_scores`` and are called with scores (..., C) and targets (...),
see `suexp.loss.cross_entropy.CrossEntropy`; `suexp.loss._tagging.TaggingLoss` is the other kind.
What other losses are given is their task's business: nothing is asked of them here.
"""

import torch
from torch import Tensor, nn

from suexp.contract.check import check, vital
from suexp.contract.subject import Subject, expect, finite, of_class, same

BASE = "torch.nn.Module"
ROWS, STEPS, CLASSES = 3, 6, 4


class Judged:
    """A loss, scores and targets, some of which do not count.

    Attributes:
        asked: whether the loss is of a kind that is known here.
    """

    def __init__(self, subject: Subject, dtype: torch.dtype = torch.float32) -> None:
        provides = {entry.partition(" if ")[0] for entry in getattr(subject.kind, "provides", ())}
        self.tags = "tagging_loss" in provides
        self.asked = self.tags or "class_scores" in provides
        self.logits = torch.randn(ROWS, STEPS, CLASSES).to(dtype).requires_grad_()
        self.target = torch.randint(CLASSES, (ROWS, STEPS))
        self.counts = torch.arange(STEPS) < torch.tensor([[STEPS], [4], [1]])
        self.ignored = subject.node.get("ignore_index", -100)
        if self.asked:
            sizes = {"num_labels": CLASSES, "label_names": None} if self.tags else {}
            self.loss = subject.build(**sizes).to(dtype)

    def __call__(self, logits: Tensor, counts: Tensor | None = None) -> Tensor:
        """Return the loss of these scores."""
        target = self.target if counts is None else self.target.where(counts, self.ignored)
        tags = (self.target, counts)
        loss: Tensor = self.loss(logits, *tags) if self.tags else self.loss(logits, target)
        return loss


@vital
def derives_from_module(subject: Subject) -> None:
    """Its class is one of torch's."""
    of_class(subject, nn.Module)


def _is_a_scalar(subject: Subject, dtype: torch.dtype) -> None:
    judged = Judged(subject, dtype)
    if not judged.asked:
        return
    loss = judged(judged.logits)
    shape = tuple(loss.shape)
    expect(shape == (), f"scores of {ROWS} x {STEPS} tokens give a tensor {shape}, not a number")
    finite([loss], f"the loss, {dtype}")
    torch.autograd.backward(loss)
    finite([judged.logits.grad], f"the scores' gradient, {dtype}")
    assert judged.logits.grad is not None
    expect(judged.logits.grad.any(), "the scores' gradient is 0 everywhere")


@vital
def is_one_number_with_a_finite_gradient(subject: Subject) -> None:
    """In float32."""
    _is_a_scalar(subject, torch.float32)


@check
def is_one_number_with_a_finite_gradient_in_bfloat16(subject: Subject) -> None:
    """As trainer.precision=bf16-true has everything."""
    _is_a_scalar(subject, torch.bfloat16)


@vital
def targets_that_do_not_count_change_nothing(subject: Subject) -> None:
    """Those of ignore_index, or behind the mask: neither the loss nor a gradient."""
    judged = Judged(subject)
    if not judged.asked:
        return
    other = judged.logits.where(judged.counts[..., None], 9 * torch.randn_like(judged.logits))
    loss = judged(judged.logits, judged.counts)
    what = "scores at targets that do not count change the loss"
    same(judged(other, judged.counts), loss, what)
    (grad,) = torch.autograd.grad(loss, judged.logits)
    expect((grad[~judged.counts] == 0).all(), "targets that do not count have a gradient")
    expect(grad[judged.counts].any(), "targets that count have none")
    if not judged.tags:
        alone = judged.loss(judged.logits[judged.counts], judged.target[judged.counts])
        what = "the loss is not that of the targets that count, by themselves"
        same(loss, alone, what, rtol=1e-5, atol=1e-6)


@vital
def without_a_target_it_is_finite(subject: Subject) -> None:
    """A batch whose targets all do not count gives 0, and zero gradients."""
    judged = Judged(subject)
    if judged.asked and not judged.tags:
        loss = judged(judged.logits, torch.zeros(ROWS, STEPS).bool())
        (grad,) = torch.autograd.grad(loss, judged.logits)
        expect(loss == 0, f"where no target counts the loss is {loss.item():g}, not 0")
        expect((grad == 0).all(), "where no target counts the gradients must be zeros")


@check
def takes_scores_of_any_size(subject: Subject) -> None:
    """Differences of 10,000 leave it finite."""
    judged = Judged(subject)
    if judged.asked:
        loss = judged(judged.logits * 1e4)
        finite([loss, *torch.autograd.grad(loss, judged.logits)], "scores around 10,000")
