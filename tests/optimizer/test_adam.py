import torch
from torch import nn

from suexp.optimizer import Adam


def test_equals_torch_s_own() -> None:
    results = []
    for kind in (Adam, torch.optim.Adam):
        torch.manual_seed(0)
        p = nn.Parameter(torch.randn(20, 10))
        optimizer = kind([p], lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)
        for _ in range(10):
            p.grad = torch.randn(20, 10)
            optimizer.step()
        results.append(p.detach())
    torch.testing.assert_close(*results)


def test_whole_numbers_will_do_as_betas() -> None:
    assert Adam([nn.Parameter(torch.ones(2))], betas=[0, 0.9]).defaults["betas"] == (0.0, 0.9)
