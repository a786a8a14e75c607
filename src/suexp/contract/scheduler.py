"""What every learning-rate schedule keeps (see `suexp.scheduler.base`)."""

import math
from typing import Any

import torch
from torch import nn

from suexp.contract.check import check, vital
from suexp.contract.subject import Subject, expect, of_class, through_a_file

BASE = "torch.optim.lr_scheduler.LRScheduler"
TOTAL = 40


def an_optimizer() -> torch.optim.Optimizer:
    """Return one of two groups, whose peaks differ."""
    groups = [{"params": [nn.Parameter(torch.ones(2))], "lr": lr} for lr in (0.5, 2.0)]
    return torch.optim.SGD(groups, lr=1.0)


def rates(scheduler: Any, steps: int) -> list[list[float]]:
    """Return each group's learning rate in so many steps."""
    seen = []
    for _ in range(steps):
        seen.append([float(group["lr"]) for group in scheduler.optimizer.param_groups])
        scheduler.optimizer.step()
        scheduler.step()
    return seen


def _of(subject: Subject, total: int = TOTAL, **changes: Any) -> Any:
    known = {key: value for key, value in changes.items() if key in subject.node}
    return subject.made(**known)(an_optimizer(), total_steps=total)


def _near(seen: list[float], wanted: list[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(seen, wanted, strict=True))


@vital
def derives_from_lr_scheduler(subject: Subject) -> None:
    """Its class is one of torch's."""
    of_class(subject, torch.optim.lr_scheduler.LRScheduler)


@vital
def rates_are_finite_and_each_group_s_own(subject: Subject) -> None:
    """The second group's peak is four times the first one's, and so is its rate."""
    for step, (first, second) in enumerate(rates(_of(subject), TOTAL)):
        expect(math.isfinite(first) and first >= 0, f"the rate of step {step} is {first}")
        expect(
            math.isclose(second, 4 * first, rel_tol=1e-6),
            f"step {step}: groups with peaks 0.5 and 2 have rates {first:.4g} and {second:.4g}",
        )


@vital
def resumed_equals_uninterrupted(subject: Subject) -> None:
    """From its state_dict, in the warm-up and after it."""
    straight = rates(_of(subject), TOTAL)
    for stop in (2, 17):
        first = _of(subject)
        seen = rates(first, stop)
        state, optimizer = through_a_file((first.state_dict(), first.optimizer.state_dict()))
        again = _of(subject)
        again.load_state_dict(state)
        again.optimizer.load_state_dict(optimizer)
        expect(
            seen + rates(again, TOTAL - stop) == straight,
            f"after a stop at step {stop} the rates are not those of a run without one",
        )


@check
def warms_up_to_each_group_s_own_peak(subject: Subject) -> None:
    """In four steps of equal rises, where it has a warm-up."""
    if "warmup" not in subject.node:
        return
    seen = rates(_of(subject, warmup=4), TOTAL)
    for step, share in enumerate((0.2, 0.4, 0.6, 0.8, 1.0)):
        wanted = [0.5 * share, 2 * share]
        expect(_near(seen[step], wanted), f"warmup=4: step {step} has {seen[step]}, not {wanted}")
    expect(max(seen) == seen[4], "warmup=4: the peak is not at step 4")


@check
def a_share_and_a_number_of_steps_mean_the_same(subject: Subject) -> None:
    """A warm-up of 0.2 is one of 8 steps out of 40."""
    if "warmup" in subject.node:
        share, number = (rates(_of(subject, warmup=warmup), TOTAL) for warmup in (0.2, 8))
        expect(share == number, "warmup=0.2 differs from warmup=8 of 40 steps")


@check
def short_runs(subject: Subject) -> None:
    """Of one step, of the warm-up alone, and a few steps longer than was said."""
    for warmup, total in ((0.0, 1), (1, 1), (0.5, 1), (3, 3), (0, 5)):
        seen = rates(_of(subject, total, warmup=warmup), total + 3)
        said = f"warmup={warmup} of {total} steps"
        expect(
            all(0 < lr <= 2 for step in seen for lr in step), f"{said}: a rate is 0, or too high"
        )
        if not warmup and "warmup" in subject.node:
            expect(seen[0] == [0.5, 2.0], f"{said}: it begins at {seen[0]}")
