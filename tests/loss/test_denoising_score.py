"""Known answers of https://kexue.fm/archives/7038 about denoising."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from suexp.init import Lecun
from suexp.loss import DenoisingScore, MultiscaleScore
from suexp.model import EnergyMLP
from suexp.nn.gaussian_mixture import GaussianMixture

MIXTURE = GaussianMixture([0.3, 0.7], [[-1.0, 0.0], [1.0, 1.0]], 0.1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def energy(seed: int = 0, **sizes: object) -> EnergyMLP:
    torch.manual_seed(seed)
    return EnergyMLP(2, Lecun(), dim=16, num_layers=2, **sizes).double()  # type: ignore[arg-type]


def test_the_loss_of_an_energy_is_that_of_the_best_plus_the_scores_error() -> None:
    # Vincent: E|sigma grad s + eta/sigma|^2 = min + sigma^2 E|grad s - grad log p_sigma|^2.
    sigma, n = 0.6, 100_000
    noised = MIXTURE.noised(sigma**2)
    x = MIXTURE.sample(n, seeded())
    network, loss = energy(), DenoisingScore(sigma)

    def best(u: Tensor) -> Tensor:
        return -noised.log_prob(u)

    found = loss(network, x, seeded(1)) - loss(best, x, seeded(1))
    u = (x + sigma * torch.empty_like(x).normal_(generator=seeded(1))).requires_grad_()
    (slope,) = torch.autograd.grad(network(u).sum(), u)
    error = sigma**2 * (slope + noised.score(u)).square().sum(1).mean()
    assert float(found.detach()) == pytest.approx(float(error.detach()), rel=0.03)
    least = 2 - sigma**2 * noised.score(u).square().sum(1).mean()
    assert float(loss(best, x, seeded(1)).detach()) == pytest.approx(
        float(least.detach()), abs=0.01
    )


def test_it_is_the_posts_form_times_the_variance() -> None:
    network, x, sigma = energy(), MIXTURE.sample(50, seeded()), 0.3
    eta = sigma * torch.empty_like(x).normal_(generator=seeded(2))
    u = (x + eta).requires_grad_()
    (slope,) = torch.autograd.grad(network(u).sum(), u)
    post = (-slope + eta / sigma**2).square().sum(1).mean()
    code = (u - sigma**2 * slope - x).square().sum(1).mean() / sigma**2
    found = DenoisingScore(sigma)(network, x, seeded(2))
    torch.testing.assert_close(found, sigma**2 * post)
    torch.testing.assert_close(found, code)


def test_one_level_of_the_multiscale_loss_is_this_one() -> None:
    network, x = energy(head="quadratic"), MIXTURE.sample(33, seeded())
    one = DenoisingScore(0.1)(network, x, seeded(3))
    many = MultiscaleScore(0.1, 0.1, sigma0=0.1)(network, x, seeded(3))
    torch.testing.assert_close(many, one, rtol=1e-12, atol=0)


def test_the_multiscale_loss_is_the_papers() -> None:
    network, x, sigma0 = energy(), MIXTURE.sample(8, seeded()), 0.2
    loss = MultiscaleScore(0.1, 0.9, sigma0=sigma0)
    level = loss.levels(8)
    u = (x + level[:, None] * torch.empty_like(x).normal_(generator=seeded(4))).requires_grad_()
    (slope,) = torch.autograd.grad(network(u).sum(), u)
    each = (x - u + sigma0**2 * slope).square().sum(1) / level**2
    torch.testing.assert_close(loss(network, x, seeded(4)), each.mean())


def test_levels_cover_the_range() -> None:
    assert MultiscaleScore(0.05, 1.2).levels(1).tolist() == [0.625]
    exponential = MultiscaleScore(0.1, 3.0, "exponential").levels(64)
    ratios = exponential[1:] / exponential[:-1]
    torch.testing.assert_close(ratios, ratios[:1].expand(63))
    assert 0.1 < exponential[0] < exponential[-1] < 3.0
    linear = MultiscaleScore(0.1, 3.0).levels(64)
    torch.testing.assert_close(linear.diff(), linear.diff()[:1].expand(63))


def test_a_quadratic_energy_finds_the_noised_precision() -> None:
    spread = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    root = torch.linalg.cholesky(spread)
    mean, sigma = torch.tensor([0.5, -1.0], dtype=torch.float64), 0.7

    class Quadratic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Parameter(torch.eye(2, dtype=torch.float64))
            self.m = nn.Parameter(torch.zeros(2, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            off = x - self.m
            return 0.5 * (off @ (self.a + self.a.T) / 2 * off).sum(1)

    network, loss, noise = Quadratic(), DenoisingScore(sigma), seeded(5)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    for _ in range(400):
        x = mean + torch.randn(1000, 2, generator=noise, dtype=torch.float64) @ root.T
        optimizer.zero_grad()
        loss(network, x, noise).backward()
        optimizer.step()
        schedule.step()
    wanted = torch.linalg.inv(spread + sigma**2 * torch.eye(2, dtype=torch.float64))
    found = (network.a + network.a.T).detach() / 2
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 0.02
    assert float((network.m - mean).detach().abs().max()) < 0.05


@pytest.mark.parametrize("make", [DenoisingScore, MultiscaleScore])
def test_autocast_changes_nothing_and_gradients_reach_all_weights(
    make: Callable[[], nn.Module],
) -> None:
    network, loss, x = energy().float(), make(), MIXTURE.sample(16, seeded()).float()
    plain = loss(network, x, seeded(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = loss(network, x.bfloat16().float(), seeded(1))
    assert cast.dtype == torch.float32
    assert abs(float((cast - plain).detach())) < 0.05
    plain.backward()
    got = {
        n: p.grad is not None and bool(p.grad.abs().sum() > 0)
        for n, p in network.named_parameters()
    }
    assert all(got.values()), got


def test_noise_may_change_along_the_run() -> None:
    loss = DenoisingScore({"start": 2.0, "end": 0.5, "steps": 100})
    loss.step = 50
    assert loss.sigma == 1.25
    loss.step = 500
    assert loss.sigma == 0.5


def test_mistakes_are_one_line() -> None:
    with pytest.raises(ValueError, match=r"loss\.sigma must be at least"):
        DenoisingScore(0.0)
    with pytest.raises(ValueError, match=r"sigma_max 0\.1 must not be below sigma_min 0\.2"):
        MultiscaleScore(0.2, 0.1)
    with pytest.raises(ValueError, match="sigma0 must be above 0"):
        MultiscaleScore(sigma0=0.0)
