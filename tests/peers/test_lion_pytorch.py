"""Lion against lucidrains' lion-pytorch, whose betas default to (0.9, 0.99)."""

import pytest
import torch
from torch import nn

from suexp.optimizer import Lion

peer = pytest.importorskip("lion_pytorch")


@pytest.mark.peer
@pytest.mark.parametrize("betas", [(0.9, 0.99), (0.95, 0.98)])
@pytest.mark.parametrize("foreach", [None, True])
def test_same_parameters_after_50_steps(betas: tuple[float, float], foreach: bool | None) -> None:
    ours, theirs = (
        nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.LayerNorm(30), nn.Linear(30, 1))
        for _ in range(2)
    )
    theirs.load_state_dict(ours.state_dict())
    optimizers = (
        Lion(ours.parameters(), lr=1e-3, betas=betas, weight_decay=0.1, foreach=foreach),
        peer.Lion(theirs.parameters(), lr=1e-3, betas=betas, weight_decay=0.1),
    )
    for _ in range(50):
        x, y = torch.randn(16, 20), torch.randn(16, 1)
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-7, rtol=0)
