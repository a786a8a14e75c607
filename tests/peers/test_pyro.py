"""Losses of the autoencoder against Pyro's, on the same draws."""

import pytest
import torch

from suexp.init import Default
from suexp.loss import ELBO, IWAE
from suexp.model import VAE

pyro = pytest.importorskip("pyro")
infer = pytest.importorskip("pyro.infer")
distributions = pytest.importorskip("pyro.distributions")

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture
def vae() -> VAE:
    torch.manual_seed(0)
    return VAE(6, Default(gain=1.0), latent_dim=3, hidden_dims=(8,)).double()


def program(vae: VAE):
    """Return Pyro's model and guide of this autoencoder."""

    def model(x: torch.Tensor) -> None:
        pyro.module("vae", vae)
        with pyro.plate("rows", len(x)):
            zero = torch.zeros(len(x), 3, dtype=x.dtype)
            z = pyro.sample("z", distributions.Normal(zero, 1.0).to_event(1))
            mean, log_var = vae.decode(z)
            likelihood = distributions.Normal(mean, (log_var / 2).exp())
            pyro.sample("x", likelihood.to_event(1), obs=x)

    def guide(x: torch.Tensor) -> None:
        with pyro.plate("rows", len(x)):
            mean, log_var = vae.encode(x)
            pyro.sample("z", distributions.Normal(mean, (log_var / 2).exp()).to_event(1))

    return model, guide


def value_and_gradients(loss, vae: VAE) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    torch.manual_seed(5)
    value = loss()
    return value.detach(), torch.autograd.grad(value, list(vae.parameters()))


@pytest.mark.parametrize("num_samples", [1, 2, 10])
def test_iwae_is_renyis_bound_of_order_0(vae: VAE, num_samples: int) -> None:
    """One row: over several, Pyro's bound is that of their joint density."""
    x = torch.randn(1, 6, dtype=torch.float64)
    peer = infer.RenyiELBO(
        alpha=0, num_particles=num_samples, vectorize_particles=True, max_plate_nesting=1
    )
    value, gradients = value_and_gradients(lambda: IWAE(num_samples)(vae, x), vae)
    pyro.clear_param_store()
    torch.manual_seed(5)
    assert value.item() == pytest.approx(peer.loss_and_grads(*program(vae), x), rel=1e-9)
    torch.testing.assert_close(gradients, tuple(p.grad for p in vae.parameters()))


@pytest.mark.parametrize("kl", ["sampled", "analytic"])
def test_elbo(vae: VAE, kl: str) -> None:
    x = torch.randn(5, 6, dtype=torch.float64)
    kind = {"sampled": infer.Trace_ELBO, "analytic": infer.TraceMeanField_ELBO}[kl]
    ours = value_and_gradients(lambda: ELBO(kl)(vae, x), vae)
    theirs = value_and_gradients(lambda: kind().differentiable_loss(*program(vae), x) / len(x), vae)
    torch.testing.assert_close(ours, theirs)
