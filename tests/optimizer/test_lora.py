"""Low-rank steps: fresh projections are unbiased; state, resume, refusals."""

import copy
import functools
from typing import Any

import pytest
import torch
from torch import nn

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.optimizer import SGD
from suexp.optimizer.lora import LoRA

PLAIN = functools.partial(SGD, momentum=0.0)


def test_fresh_projections_have_the_gradient_for_a_mean() -> None:
    """Within four standard errors after 20,000 draws; a step moves W by a rank of at most 2 r."""
    g = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.0, 4.0]], dtype=torch.float64)
    w = nn.Parameter(torch.zeros_like(g))
    optimizer = LoRA([w], lr=1.0, rank=1, projection="fresh", base=PLAIN)
    draws = torch.stack([optimizer._fresh(w, g, step) for step in range(20_000)])
    error = draws.std(0) / 20_000**0.5
    assert ((draws.mean(0) - g).abs() < 4 * error).all()


def test_ranks_grow_with_fresh_projections_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    ranks = {}
    for projection in ("learned", "fresh"):
        w = nn.Parameter(torch.zeros(12, 10, dtype=torch.float64))
        optimizer = LoRA([w], lr=0.1, rank=1, projection=projection, base=PLAIN)  # type: ignore[arg-type]
        for _ in range(3):
            w.grad = torch.randn(12, 10, dtype=torch.float64, generator=generator)
            optimizer.step()
        ranks[projection] = int(torch.linalg.matrix_rank(w.detach()))
    assert ranks == {"learned": 1, "fresh": 6}


@pytest.mark.parametrize("projection", ["learned", "fresh"])
def test_a_resumed_run_repeats_it(projection: Any) -> None:
    def steps(optimizer: Any, w: Any, numbers: range) -> None:
        for number in numbers:
            w.grad = torch.sin(torch.arange(20.0) * (number + 1)).view(4, 5)
            optimizer.step()

    def fresh() -> tuple[Any, Any]:
        w = nn.Parameter(torch.ones(4, 5))
        base = PLAIN if projection == "fresh" else None
        return LoRA([w], lr=0.1, rank=2, projection=projection, base=base), w

    optimizer, w = fresh()
    steps(optimizer, w, range(3))
    state, middle = optimizer.state_dict(), w.detach().clone()
    state = copy.deepcopy(state)
    steps(optimizer, w, range(3, 6))
    again, v = fresh()
    v.data.copy_(middle)
    again.load_state_dict(state)
    steps(again, v, range(3, 6))
    assert v.equal(w)


def test_the_learning_rate_is_a_schedule_s() -> None:
    w = nn.Parameter(torch.zeros(4, 5))
    optimizer = LoRA([w], lr=0.1, rank=2, base=PLAIN, init="symmetric")
    before = optimizer.factors[w].down.detach().clone()
    optimizer.param_groups[0]["lr"] = 0.0
    w.grad = torch.ones(4, 5)
    optimizer.step()
    assert optimizer.factors[w].down.equal(before)


def test_few_bits_lose_no_difference_with_a_kept_base() -> None:
    """bfloat16 holds no 1 + 1e-3, but the sum of ten such steps."""
    ends = {}
    for how in ("incremental", "from_base"):
        w = nn.Parameter(torch.ones(4, 4, dtype=torch.bfloat16))
        optimizer = LoRA([w], lr=1e-3, rank=4, base=PLAIN, init="symmetric", materialise=how)  # type: ignore[arg-type]
        for _ in range(20):
            w.grad = -torch.ones(4, 4, dtype=torch.bfloat16)
            optimizer.step()
        ends[how] = w.detach().float().mean().item()
    assert ends["incremental"] == 1.0
    assert ends["from_base"] > 1.004


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rank": 9}, "rank 9 is more than"),
        ({"targets": "head"}, "targets='head' matches no matrix"),
        ({"init": "both_zero"}, "A=B=0 is a stationary point"),
        (
            {"projection": "fresh", "base": functools.partial(SGD), "rank": 1},
            "projection=fresh with SGD: it remembers",
        ),
        ({"lr": 0}, "learning rate must be above 0"),
    ],
)
def test_mistakes_are_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LoRA([nn.Parameter(torch.zeros(4, 4))], **settings)


def test_gradients_must_come_unclipped() -> None:
    with pytest.raises(
        UserError, match=r"optimizer=lora cannot be combined with trainer.gradient_"
    ):
        resolve(["optimizer=lora"])
    resolve(["optimizer=lora", "trainer.gradient_clip_val=null"])
