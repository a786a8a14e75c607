import math

import pytest
import torch
from torch import nn

from suexp.loss import IWAE
from tests.loss.test_elbo import model, value_and_gradient


def test_is_the_log_of_the_mean_weight() -> None:
    vae, x = model(), torch.randn(5, 6, dtype=torch.float64)
    torch.manual_seed(1)
    expected = -vae.log_weights(x, 7).exp().mean(0).log().mean()
    torch.manual_seed(1)
    torch.testing.assert_close(IWAE(7)(vae, x), expected)


def test_gradient_is_weighted_by_the_shares() -> None:
    vae, x = model(), torch.randn(5, 6, dtype=torch.float64)
    _, gradients = value_and_gradient(IWAE(4), vae, x)
    torch.manual_seed(1)
    log_w = vae.log_weights(x, 4)
    shares = log_w.detach().softmax(0)
    expected = torch.autograd.grad(-(shares * log_w).sum(0).mean(), list(vae.parameters()))
    torch.testing.assert_close(gradients, expected)


@pytest.mark.parametrize("num_samples", [1, 4])
def test_dreg_by_its_formula(num_samples: int) -> None:
    """Encoder: squared shares times the derivative through z alone; decoder: as ever."""
    vae, x = model(), torch.randn(5, 6, dtype=torch.float64)
    value, gradients = value_and_gradient(IWAE(num_samples, "dreg"), vae, x)
    plain, plain_gradients = value_and_gradient(IWAE(num_samples), vae, x)
    torch.testing.assert_close(value, plain)
    names = [name for name, _ in vae.named_parameters()]
    torch.manual_seed(1)
    drawn = vae.draw(x, num_samples, stop_proposal=True)
    shares = drawn.log_weights.detach().softmax(0)
    encoder = [p for name, p in vae.named_parameters() if name.startswith("encoder")]
    (by_z,) = torch.autograd.grad(drawn.log_weights.sum(), drawn.z, retain_graph=True)
    expected = torch.autograd.grad(drawn.z, encoder, -(shares.square()[..., None] * by_z) / len(x))
    found = [g for name, g in zip(names, gradients, strict=True) if name.startswith("encoder")]
    torch.testing.assert_close(found, list(expected))
    for name, a, b in zip(names, gradients, plain_gradients, strict=True):
        if name.startswith("decoder"):
            torch.testing.assert_close(a, b)


@pytest.mark.slow
def test_dreg_has_the_mean_of_iwae_and_less_noise() -> None:
    vae = model()
    x = torch.randn(1, 6, dtype=torch.float64).expand(200, 6)
    bias = vae.encoder[-1].bias
    draws = {}
    for estimator in ("iwae", "dreg"):
        torch.manual_seed(2)
        loss = IWAE(8, estimator)
        draws[estimator] = torch.stack(
            [torch.autograd.grad(loss(vae, x), bias)[0] for _ in range(200)]
        )
    spread = {name: values.std(0) for name, values in draws.items()}
    error = 4 * (spread["iwae"].square() + spread["dreg"].square()).sqrt() / math.sqrt(200)
    assert ((draws["iwae"].mean(0) - draws["dreg"].mean(0)).abs() < error).all()
    assert spread["dreg"].norm() < spread["iwae"].norm()


def test_densities_that_underflow() -> None:
    """64 dimensions far from the mean: the weights themselves are 0 in float32."""
    from suexp.init import Default
    from suexp.model import VAE

    vae, x = VAE(64, Default()), 50 * torch.randn(3, 64)
    assert vae.log_weights(x, 2).exp().max() == 0
    loss = IWAE(5)(vae, x)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in vae.parameters())


def test_evaluates_without_gradients() -> None:
    vae, x = model(), torch.randn(5, 6, dtype=torch.float64)
    with torch.no_grad():
        torch.manual_seed(1)
        dreg = IWAE(4, "dreg")(vae, x)
        torch.manual_seed(1)
        torch.testing.assert_close(dreg, IWAE(4)(vae, x))


@pytest.mark.parametrize("settings", [{"num_samples": 0}, {"estimator": "stl"}])
def test_out_of_range(settings: dict) -> None:
    with pytest.raises((ValueError, TypeError)):
        IWAE(**settings)
    assert isinstance(IWAE(), nn.Module)
