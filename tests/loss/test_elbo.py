import pytest
import torch

from suexp.init import Default
from suexp.loss import ELBO, IWAE
from suexp.model import VAE
from suexp.nn.density import kl_to_standard_normal


def model() -> VAE:
    torch.manual_seed(0)
    return VAE(6, Default(gain=1.0), latent_dim=3, hidden_dims=(8,)).double()


def value_and_gradient(loss, vae: VAE, x: torch.Tensor, seed: int = 1):
    torch.manual_seed(seed)
    value = loss(vae, x)
    return value, torch.autograd.grad(value, list(vae.parameters()))


def test_is_the_reconstruction_and_the_divergence() -> None:
    vae, x = model(), torch.randn(5, 6, dtype=torch.float64)
    torch.manual_seed(1)
    drawn = vae.draw(x)
    kl = kl_to_standard_normal(*vae.encode(x))
    for beta in (1.0, 0.3):
        torch.manual_seed(1)
        expected = -(drawn.log_likelihood - beta * kl).mean()
        torch.testing.assert_close(ELBO("analytic", beta)(vae, x), expected)
        torch.manual_seed(1)
        sampled = drawn.log_proposal - drawn.log_prior
        expected = -(drawn.log_likelihood - beta * sampled).mean()
        torch.testing.assert_close(ELBO("sampled", beta)(vae, x), expected)


def test_both_forms_have_one_mean() -> None:
    vae, x = model(), torch.randn(1, 6, dtype=torch.float64).expand(20_000, 6)
    values = []
    for kl in ("sampled", "analytic"):
        torch.manual_seed(1)
        values.append(ELBO(kl)(vae, x).item())
    drawn = vae.draw(x)
    spread = (drawn.log_proposal - drawn.log_prior).std().item() / 20_000**0.5
    assert values[0] == pytest.approx(values[1], abs=4 * spread)


def test_is_iwae_with_one_sample() -> None:
    """The post's third claim: the same values and gradients, to the last bit."""
    vae, x = model(), torch.randn(5, 6, dtype=torch.float64)
    elbo, elbo_gradients = value_and_gradient(ELBO(), vae, x)
    iwae, iwae_gradients = value_and_gradient(IWAE(1), vae, x)
    assert elbo.item() == iwae.item()
    for a, b in zip(elbo_gradients, iwae_gradients, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("settings", [{"kl": "exact"}, {"beta": -1.0}])
def test_out_of_range(settings: dict) -> None:
    with pytest.raises((ValueError, TypeError)):
        ELBO(**settings)
