import torch
from torch import nn

from suexp.optimizer import Lion, Signum


def run(optimizer: torch.optim.Optimizer, p: nn.Parameter) -> torch.Tensor:
    torch.manual_seed(3)
    for _ in range(20):
        p.grad = torch.randn_like(p)
        optimizer.step()
    return p.detach()


def test_is_lion_with_equal_betas_and_no_decay() -> None:
    p, q = nn.Parameter(torch.ones(30)), nn.Parameter(torch.ones(30))
    lion = run(Lion([p], lr=0.01, betas=(0.8, 0.8), weight_decay=0.0), p)
    assert torch.equal(run(Signum([q], lr=0.01, beta=0.8), q), lion)


def test_without_momentum_it_is_sign_sgd() -> None:
    p = nn.Parameter(torch.ones(30))
    result = run(Signum([p], lr=0.25, beta=0.0), p)
    expected = torch.ones(30)
    torch.manual_seed(3)
    for _ in range(20):
        expected -= 0.25 * torch.randn(30).sign()
    assert torch.equal(result, expected)
