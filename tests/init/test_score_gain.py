"""Only the projections of queries and keys differ from those of init=default."""

import pytest
import torch
from torch import nn

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.init import Default, ScoreGain
from tests.contracts.test_model import build, resolved

CHOICES = {"attention": "softmax", "position": "rope", "mask": "causal"}


@pytest.mark.parametrize("gain", [0.0, 1.0, 5.0])
def test_queries_and_keys_are_scaled_and_nothing_else(gain: float) -> None:
    torch.manual_seed(0)
    model = build(resolved(CHOICES))
    torch.manual_seed(0)
    Default().apply(model)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    ScoreGain(gain).apply(model)
    for name, value in model.state_dict().items():
        want = expected[name].clone()
        if name.endswith("qkv.weight"):
            want[: len(want) * 2 // 3] *= gain
        assert torch.equal(value, want), name


def test_without_scores_both_gradients_vanish() -> None:
    """More entropy than that of equal weights there is not, and nothing to be learned from it."""
    model = build(resolved(CHOICES | {"init": "score_gain"}, init={"score_gain": 0.0}))
    logits = model(torch.randint(11, (4, 12)))
    logits.logsumexp(-1).sub(logits[..., 0]).mean().backward()
    for block in model.blocks:
        gradient = block.attention.qkv.weight.grad
        assert gradient[:32].count_nonzero() == 0
        assert gradient[32:].count_nonzero() > 0


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="score_gain must be at least 0"):
        ScoreGain(-1.0)
    with pytest.raises(ValueError, match="use init=default"):
        ScoreGain().apply(nn.Linear(2, 2))
    with pytest.raises(UserError, match="init=score_gain needs attention"):
        resolve(["task=classification", "model=mlp", "data=digits", "init=score_gain"])
