"""What holds of every optimizer that accumulates inside its own buffers."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from suexp.contract.subject import through_a_file


def digits_like() -> nn.Module:
    """A small network in float64, the same every time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)).double()


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()


def trajectory(
    kind: Callable[..., torch.optim.Optimizer], factor: float, **settings: object
) -> Tensor:
    """Weights after 30 steps on a loss that many times as large, at a rate that much smaller."""
    model = digits_like()
    optimizer = kind(model.parameters(), lr=0.1 / factor, **settings)
    for _ in range(30):
        x, y = torch.randn(8, 6).double(), torch.randint(3, (8,))
        optimizer.zero_grad()
        (factor * nn.functional.cross_entropy(model(x), y)).backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def missing(build: Callable[[nn.Parameter, int], torch.optim.Optimizer]) -> None:
    """No gradient in a micro-step counts as zero; none in a whole cycle leaves all as it was."""
    torch.manual_seed(0)
    start = torch.randn(8, 6).double()
    p, q = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    micro, whole = build(p, 3), build(q, 1)
    for present in ("xxx", "-x-", "---", "x--", "--x", "xxx"):
        grads = [torch.randn(8, 6).double() if sign == "x" else None for sign in present]
        for g in grads:
            p.grad = g
            micro.step()
        given = [g for g in grads if g is not None]
        q.grad = sum(given) / 3 if given else None
        whole.step()
        torch.testing.assert_close(p, q, atol=1e-12, rtol=0)


def phases(build: Callable[[nn.Parameter], torch.optim.Optimizer]) -> None:
    """A run that is interrupted within a cycle of three ends as one that is not, bit for bit."""
    results = []
    for interrupted in (False, True):
        torch.manual_seed(0)
        p = nn.Parameter(torch.randn(4, 3))
        optimizer = build(p)
        for t in range(12):
            if interrupted and t == 7:
                state = through_a_file(optimizer.state_dict())
                p = nn.Parameter(p.detach())
                optimizer = build(p)
                optimizer.load_state_dict(state)
            p.grad = torch.randn(4, 3)
            optimizer.step()
        results.append(p.detach())
    assert torch.equal(*results)
