"""Steps against torchsde's and torchdiffeq's, on the same Brownian motion."""

import itertools

import pytest
import torch

from suexp.nn.sde import solve, step

torchsde = pytest.importorskip("torchsde")
torchdiffeq = pytest.importorskip("torchdiffeq")

pytestmark = pytest.mark.peer
TIMES = [i / 20 for i in range(21)]


class Well(torch.nn.Module):
    noise_type, sde_type = "diagonal", "ito"

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return y - y**3

    def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.full_like(y, 0.7)


@pytest.mark.parametrize(
    ("method", "theirs", "kind"),
    [("euler_maruyama", "euler", "ito"), ("heun", "heun", "stratonovich")],
)
def test_the_same_increments_give_the_same_points(method: str, theirs: str, kind: str) -> None:
    x = torch.linspace(-1, 1, 30, dtype=torch.float64)[:, None]
    motion = torchsde.BrownianInterval(0.0, 1.0, size=x.shape, dtype=torch.float64, entropy=3)
    well = Well()
    well.sde_type = kind
    times = torch.tensor(TIMES, dtype=torch.float64)
    peer = torchsde.sdeint(well, x, times, bm=motion, dt=0.05, method=theirs)[-1]
    ours = x
    for t, after in itertools.pairwise(TIMES):
        dw = motion(t, after)
        ours = step(method, lambda t, y: y - y**3, lambda t: 0.7, t, ours, after - t, dw)
    assert torch.allclose(ours, peer, atol=1e-12)


def test_rk4_is_torchdiffeqs() -> None:
    x = torch.rand(20, 2, generator=torch.Generator().manual_seed(0)).double()

    def field(t: torch.Tensor | float, y: torch.Tensor) -> torch.Tensor:
        return torch.stack([-y[:, 1], y[:, 0]], 1) * (1 + t) - y**3

    options = {"perturb": False}
    times = torch.tensor(TIMES, dtype=torch.float64)
    peer = torchdiffeq.odeint(field, x, times, method="rk4", options=options)[-1]
    # torchdiffeq's rk4 is the 3/8 rule: equal to the order of the step.
    assert torch.allclose(solve("rk4", field, None, x, TIMES), peer, atol=1e-5)
    exact = torchdiffeq.odeint(field, x, times, rtol=1e-11, atol=1e-12)[-1]
    assert torch.allclose(solve("rk4", field, None, x, TIMES), exact, atol=1e-5)
