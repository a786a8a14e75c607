import pytest
import torch

from suexp.method.weight_clipping import WeightClipping
from tests.method.critics import critic, task


def test_clips_every_weight_of_the_critic() -> None:
    network = critic()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    WeightClipping(c=0.05).after_step(task(network))
    for old, new in zip(before, network.parameters(), strict=True):
        assert torch.equal(new, old.clamp(-0.05, 0.05))
    assert any((new != old).any() for old, new in zip(before, network.parameters(), strict=True))


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"c must be above 0, not 0\.0"):
        WeightClipping(c=0.0)
    with pytest.raises(ValueError, match=r"has no critic for method=weight_clipping"):
        WeightClipping().attach(task(None))  # type: ignore[arg-type]
