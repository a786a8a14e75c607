import copy
import io
import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.init import Default
from suexp.launch.spec import spec_of
from suexp.model import VAE, BernoulliVAE


def build(**changes) -> VAE:
    torch.manual_seed(0)
    return VAE(**({"input_dim": 6, "init": Default(), "hidden_dims": (8, 5)} | changes))


@pytest.mark.parametrize("variance", ["learned", "shared"])
def test_likelihood_is_the_decoders_normal(variance: str) -> None:
    model, x, z = build(decoder_variance=variance), torch.randn(4, 6), torch.randn(3, 4, 8)
    mean, log_var = model.decode(z)
    assert mean.shape == log_var.shape == (3, 4, 6)
    expected = Normal(mean, (log_var / 2).exp()).log_prob(x).sum(-1)
    torch.testing.assert_close(model.log_likelihood(x, z), expected)


def test_fixed_variance_is_one_and_says_so() -> None:
    with pytest.warns(UserWarning, match="the density depends on the fixed variance 1"):
        model = build(decoder_variance="fixed")
    assert (model.decode(torch.randn(3, 8))[1] == 0).all()


def test_hidden_sizes_are_reversed_in_the_decoder() -> None:
    model = build()
    assert [layer.weight.shape for layer in model.encoder[::2]] == [(8, 6), (5, 8), (16, 5)]
    assert [layer.weight.shape for layer in model.decoder[::2]] == [(5, 8), (8, 5), (12, 8)]
    linear = build(hidden_dims=())
    assert len(linear.encoder) == len(linear.decoder) == 1
    assert linear.log_weights(torch.randn(3, 6), 2).shape == (2, 3)


def test_log_variance_is_clamped() -> None:
    model = build(min_log_var=-0.1, max_log_var=0.1)
    log_var = model.decode(100 * torch.randn(50, 8))[1]
    assert log_var.min().item() == pytest.approx(-0.1)
    assert log_var.max().item() == pytest.approx(0.1)


def test_weights_are_the_three_densities() -> None:
    model, x = build(), torch.randn(4, 6)
    drawn = model.draw(x, 5)
    mean, log_var = model.encode(x)
    expected = (
        model.log_likelihood(x, drawn.z)
        + Normal(0.0, 1.0).log_prob(drawn.z).sum(-1)
        - Normal(mean, (log_var / 2).exp()).log_prob(drawn.z).sum(-1)
    )
    torch.testing.assert_close(drawn.log_weights, expected)
    by_prior = model.draw(x, 5, "prior")
    torch.testing.assert_close(by_prior.log_weights, model.log_likelihood(x, by_prior.z))


def test_units_change_the_density_by_the_determinant() -> None:
    """The decoder in other units: x' = s x has log q'(x') = log q(x) - D log s."""
    model, x, s = build(max_log_var=20.0), torch.randn(4, 6), 3.0
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.encoder[0].weight /= s
        other.decoder[-1].weight[:6] *= s
        other.decoder[-1].bias[:6] *= s
        other.decoder[-1].bias[6:] += 2 * math.log(s)
        a = model.log_weights(x, 7, generator=torch.Generator().manual_seed(0))
        b = other.log_weights(s * x, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(b, a - 6 * math.log(s), atol=1e-4, rtol=0)


def test_bernoulli_is_a_probability_that_sums_to_one() -> None:
    model = BernoulliVAE(4, Default(gain=3.0), latent_dim=2, hidden_dims=(5,))
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4)
    z = torch.randn(3, 1, 2).expand(3, 16, 2)
    log_p = model.log_likelihood(every, z)
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(3))
    expected = Bernoulli(logits=model.decode(z)).log_prob(every).sum(-1)
    torch.testing.assert_close(log_p, expected)


@pytest.mark.parametrize("kind", [VAE, BernoulliVAE])
def test_bfloat16_autocast_trains_in_float32_densities(kind) -> None:
    model = kind(6, Default())
    with torch.autocast("cpu", torch.bfloat16):
        log_w = model.log_weights((torch.rand(4, 6) > 0.5).float(), 3)
    assert log_w.dtype == torch.float32
    log_w.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_bfloat16_weights() -> None:
    log_w = build().bfloat16().log_weights(torch.randn(4, 6).bfloat16(), 3)
    assert log_w.dtype == torch.float32
    assert log_w.isfinite().all()


def test_state_dict_round_trip() -> None:
    model, file = build(decoder_variance="shared"), io.BytesIO()
    torch.manual_seed(1)
    other = VAE(6, Default(), hidden_dims=(8, 5), decoder_variance="shared")
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    z = torch.randn(2, 8)
    assert torch.equal(model.decode(z)[0], other.decode(z)[0])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"latent_dim": 0}, "latent_dim must be at least 1, not 0"),
        ({"hidden_dims": (8, 0)}, "hidden_dims must be at least 1, not 0"),
        ({"min_log_var": 7.0}, "min_log_var 7.0 must be below max_log_var 6.0"),
    ],
)
def test_refuses_what_does_not_fit(changes: dict, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        build(**changes)


NOISY = ["task=autoencoding", "data=digits", "data.dequantize=true"]


@pytest.mark.parametrize(
    ("choices", "line"),
    [
        (["task=autoencoding", "data=digits"], "a continuous density of discrete data is unbound"),
        (["task=autoencoding", "data=idx", "data.pixels=binary"], "use model=bernoulli_vae"),
        (["task=autoencoding", "data=idx"], "of discrete data is unbounded"),
        ([*NOISY, "task.proposal=posterior"], "the posterior must be known; use task.proposal=enc"),
        ([*NOISY, "attention=softmax"], "it takes no attention; leave that choice out"),
        ([*NOISY, "model=mlp"], "use model=vae"),
        ([*NOISY, "model=bernoulli_vae"], "it is a probability of 0 and 1"),
        ([*NOISY, "loss=cross_entropy"], "use loss=elbo or loss=iwae"),
        ([*NOISY, "model=ppca"], "use model=vae, or task=density_fit"),
        (["model=vae", "task=classification", *NOISY[1:]], "use task=autoencoding"),
    ],
)
def test_refused_when_composed(choices: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        resolve(choices)


def test_composes() -> None:
    config = spec_of([*NOISY, "loss=iwae"])
    assert "attention" not in config.config
    assert config.config["loss"]["num_samples"] == 5
    resolve(["task=autoencoding", "model=bernoulli_vae", "data=idx", "data.pixels=binary"])
