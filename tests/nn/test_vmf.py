import math
from collections.abc import Callable

import pytest
import torch
from scipy import integrate, special, stats
from torch import Tensor

from suexp.nn.vmf import VMFSampler, kl_to_uniform, mean_cosine, uniform_on_sphere

PEAKS = [0.1, 0.2, 0.4, 0.6, 0.8, 1.2, 1.6]  # where the integrands may be large


def means(rows: int, dim: int) -> Tensor:
    return uniform_on_sphere(1, dim, torch.device("cpu"), generator(5)).expand(rows, dim)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_quadrature(dim: int, kappa: float) -> tuple[float, float]:
    """Mean cosine and KL, by integrals over the angle in SciPy."""
    log_area = math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)

    def weight(theta: float) -> float:  # e^kappa is taken out
        return math.exp(kappa * (math.cos(theta) - 1)) * math.sin(theta) ** (dim - 2)

    def integral(f: Callable[[float], float]) -> float:
        return integrate.quad(f, 0, math.pi, epsabs=0, epsrel=1e-12, points=PEAKS)[0]

    total = integral(weight)
    first = integral(lambda t: math.cos(t) * weight(t))
    plain = integral(lambda t: math.sin(t) ** (dim - 2))
    log_density = log_area - math.log(plain)  # area of the sphere of one dimension less
    entropy_part = kappa * first / total - kappa - math.log(total) - log_density
    return first / total, entropy_part + log_area


@pytest.mark.parametrize(
    ("dim", "kappa", "cosine", "kl"),
    [(16, 32.0, 0.78990, 7.58214), (4, 32.0, 0.953, 3.95), (32, 32.0, 0.623, 7.775)],
)
def test_known_mean_cosine_and_divergence(dim: int, kappa: float, cosine: float, kl: float) -> None:
    digits = 1e-5 if dim == 16 else 5e-3
    assert mean_cosine(dim, kappa) == pytest.approx(cosine, abs=digits)
    assert kl_to_uniform(dim, kappa) == pytest.approx(kl, abs=digits)


@pytest.mark.parametrize(("dim", "kappa"), [(3, 0.5), (4, 8.0), (16, 32.0), (32, 64.0), (64, 500)])
def test_closed_forms_equal_quadrature(dim: int, kappa: float) -> None:
    cosine, kl = by_quadrature(dim, kappa)
    assert mean_cosine(dim, kappa) == pytest.approx(cosine, abs=1e-8)
    assert kl_to_uniform(dim, kappa) == pytest.approx(kl, abs=1e-6)


def test_divergence_is_the_difference_of_entropies() -> None:
    mean = [1.0] + 15 * [0.0]
    uniform = math.log(2 * math.pi**8 / special.gamma(8))
    expected = uniform - stats.vonmises_fisher(mean, 32.0).entropy()
    assert kl_to_uniform(16, 32.0) == pytest.approx(expected, abs=1e-6)


def test_without_concentration_it_is_uniform() -> None:
    assert kl_to_uniform(16, 0) == mean_cosine(16, 0) == 0
    assert kl_to_uniform(16, 1e-3) == pytest.approx(0, abs=1e-6)
    z = VMFSampler(5, 0.0)(means(40_000, 5), generator(0))
    assert z.mean(0).abs().max() < 4 / math.sqrt(5 * 40_000)
    assert ((z.T @ z) / len(z) - torch.eye(5) / 5).abs().max() < 0.01


@pytest.mark.parametrize(("dim", "kappa"), [(3, 2.0), (16, 32.0), (32, 64.0), (16, 100_000.0)])
def test_draws_have_the_mean_cosine_and_length_one(dim: int, kappa: float) -> None:
    mean = means(40_000, dim)
    z = VMFSampler(dim, kappa)(mean, generator(1))
    assert (z.norm(dim=1) - 1).abs().max() < 1e-6
    w = (z * mean).sum(1).double()
    assert (w.mean() - mean_cosine(dim, kappa)).abs() < 3 * w.std() / math.sqrt(len(w)) + 1e-7
    across = z - w[:, None].float() * mean
    assert (across @ mean[0]).abs().max() < 1e-5
    assert across.mean(0).abs().max() < 4 / math.sqrt(len(z))  # no direction is preferred


def test_moments_are_scipys() -> None:
    """Second moments, too: of 40,000 draws each."""
    mean = means(40_000, 4)
    ours = VMFSampler(4, 8.0)(mean, generator(2)).double()
    theirs = torch.from_numpy(
        stats.vonmises_fisher(mean[0].double().numpy(), 8.0).rvs(40_000, random_state=3)
    )
    torch.testing.assert_close(ours.mean(0), theirs.mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(ours.T @ ours / 4e4, theirs.T @ theirs / 4e4, atol=0.01, rtol=0)


@pytest.mark.parametrize(("dim", "kappa"), [(4, 8.0), (16, 32.0), (32, 100.0)])
def test_table_inverts_the_distribution_of_the_cosine(dim: int, kappa: float) -> None:
    """The naive table: over w itself, in logarithms less their maximum, summed and searched."""
    w = torch.linspace(-1, 1, 2_000_001, dtype=torch.float64)[1:-1]
    log_density = kappa * w + (dim - 3) / 2 * torch.log1p(-w * w)
    cumulated = (log_density - log_density.max()).exp().cumsum(0)
    share = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    expected = w[torch.searchsorted(cumulated / cumulated[-1], share)]
    found = VMFSampler(dim, kappa).angle(1 - share).cos().double()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_gradients_flow_through_the_mean() -> None:
    mean = means(1, 4).double().clone().requires_grad_()
    sampler = VMFSampler(4, 8.0)

    def draw(mean: Tensor) -> Tensor:
        return sampler(mean, generator(4))

    assert torch.autograd.gradcheck(draw, mean)


def test_dtypes() -> None:
    sampler = VMFSampler(4, 8.0).bfloat16()  # a 16-bit run does not touch the table
    mean = means(2000, 4)
    assert torch.equal(sampler(mean, generator(0)), VMFSampler(4, 8.0)(mean, generator(0)))
    assert sampler(mean.bfloat16()).dtype == torch.float32
    assert not sampler.state_dict()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"dim": 1, "kappa": 1.0}, "dim must be at least 2, not 1"),
        ({"dim": 3, "kappa": -1.0}, r"kappa must be in \[0, inf\), not -1"),
        ({"dim": 3, "kappa": math.inf}, r"kappa must be in \[0, inf\), not inf"),
        ({"dim": 3, "kappa": 1.0, "table_size": 1}, "table_size must be at least 2"),
    ],
)
def test_refusals(arguments: dict[str, float], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        VMFSampler(**arguments)  # type: ignore[arg-type]
