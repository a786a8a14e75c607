"""Known answers of https://kexue.fm/archives/8757, in float64 on random leaky-ReLU critics."""

import inspect
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.method.gradient_normalization import FORMS, GradientNormalization, NormalizedCritic
from tests.method.critics import critic, points, task, value_and_gradient


def normalized(form: Any, **settings: Any) -> NormalizedCritic:
    return NormalizedCritic(critic(**settings), form, 0.1, 1.0)


def f_and_n(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    f, g = value_and_gradient(network, x)
    return f, g.norm(dim=1)


EXPECTED = {
    "gn": (lambda f, n: f / (n + f.abs()), lambda f, n: (n / (n + f.abs())) ** 2, 1e-10),
    "gran": (lambda f, n: f * n / (n**2 + 0.1), lambda f, n: n**2 / (n**2 + 0.1), 1e-10),
    "plain": (lambda f, n: f / n, lambda f, n: torch.ones_like(n), 1e-5),
    "gran_sum": (lambda f, n: f / (n + 0.1), lambda f, n: n / (n + 0.1), 1e-10),
}


@pytest.mark.parametrize("form", EXPECTED)
def test_value_and_norm_of_the_input_gradient(form: str) -> None:
    network, x = normalized(form), points(500)
    f, n = f_and_n(network.inner, x)
    value, gradient = value_and_gradient(network, x)
    expected_value, expected_norm, error = EXPECTED[form]
    assert (value - expected_value(f, n)).abs().max() < max(error, 1e-10) * value.abs().max()
    assert (gradient.norm(dim=1) - expected_norm(f, n)).abs().max() < error


def test_gn_is_bounded_and_blind_to_the_scale() -> None:
    x = 100 * points(500)
    for form in ("gn", "plain"):
        network = normalized(form)
        before = network(x)
        with torch.no_grad():
            network.inner.layers[-1].weight.mul_(37.0)
            network.inner.layers[-1].bias.mul_(37.0)
        # 1e-8 in the denominator of plain, where n may be as small as 0.002
        torch.testing.assert_close(network(x), before, rtol=1e-5, atol=0)
    assert normalized("gn")(x).abs().max() < 1
    gran = normalized("gran")
    before = gran(x)
    with torch.no_grad():
        gran.inner.layers[-1].weight.mul_(37.0)
        gran.inner.layers[-1].bias.mul_(37.0)
    assert (gran(x) - before).abs().max() > 0.1
    gran.eps = 1e-14  # only as eps goes to 0
    plain = NormalizedCritic(gran.inner, "plain", 0.1, 1.0)
    torch.testing.assert_close(gran(x), plain(x), rtol=1e-5, atol=0)


def weights_gradient(network: nn.Module, x: Tensor) -> Tensor:
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(network(x).sin().sum(), parameters, materialize_grads=True)
    return torch.cat([g.flatten() for g in gradients])


def test_without_biases_linear_is_plain() -> None:
    x = points()
    plain, linear = normalized("plain", bias=False), normalized("linear", bias=False)
    torch.testing.assert_close(plain(x), linear(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        weights_gradient(plain, x), weights_gradient(linear, x), rtol=0, atol=1e-10
    )
    plain, linear = normalized("plain"), normalized("linear")
    assert (plain(x) - linear(x)).abs().max() > 0.1


@pytest.mark.slow
def test_between_pieces_it_jumps() -> None:
    """A step of 3e-4 along a line: f moves like a continuous function, what is made of it not."""
    network = critic(2, dim=128)
    line = torch.linspace(-3, 3, 20_001, dtype=torch.float64)[:, None] * torch.tensor(
        [[0.8, 0.6]], dtype=torch.float64
    )
    step = network(line).diff().abs().max().item()
    largest = {}
    for form in ("plain", "gn", "gran"):
        change = NormalizedCritic(network, form, 0.1, 1.0)(line).diff().abs()
        largest[form] = change.max().item()
        assert (change > 10 * 3e-4).sum() > 20
    assert step < 1e-4
    assert largest["plain"] > largest["gn"] > 100 * step
    assert largest["gran"] > 100 * step


@pytest.mark.parametrize("form", FORMS)
def test_second_order_by_finite_differences(form: Any) -> None:
    network, x = normalized(form, dim=6), points(16)
    gradient = weights_gradient(network, x)
    place, h = 0, 1e-6
    with torch.no_grad():
        for parameter in network.parameters():
            for i in range(min(parameter.numel(), 5)):
                entry, ends = parameter.view(-1)[i], []
                for sign in (1, -1):
                    entry.add_(sign * h)
                    ends.append(network(x).sin().sum().item())
                    entry.sub_(sign * h)
                difference = (ends[0] - ends[1]) / (2 * h)
                assert gradient[place + i].item() == pytest.approx(difference, rel=1e-5, abs=1e-5)
            place += parameter.numel()


def test_detaching_the_norm_would_be_another_method() -> None:
    network, x = normalized("gn"), points()
    f = network.inner(x)
    _, n = f_and_n(network.inner, x)
    detached = (f / (n + f.abs())).sin().sum()
    other = torch.autograd.grad(detached, list(network.parameters()))
    assert (weights_gradient(network, x) - torch.cat([g.flatten() for g in other])).abs().max() > 1


def reference(network: nn.Module, x: Tensor) -> Tensor:
    """normalize_gradient as in the authors' code."""
    x.requires_grad_(True)
    f = network(x)
    grad = torch.autograd.grad(f, [x], torch.ones_like(f), create_graph=True)[0]
    grad_norm = torch.norm(torch.flatten(grad, start_dim=1), p=2, dim=1)
    grad_norm = grad_norm.view(-1, *[1 for _ in range(len(f.shape) - 1)])
    return f / (grad_norm + torch.abs(f))


def test_gn_equals_the_authors_formula() -> None:
    network, x = normalized("gn"), points()
    torch.testing.assert_close(network(x), reference(network.inner, x.clone()), rtol=0, atol=1e-7)
    ours = weights_gradient(network, x)
    value = reference(network.inner, x.clone()).sin().sum()
    theirs = torch.autograd.grad(value, list(network.parameters()))
    torch.testing.assert_close(ours, torch.cat([g.flatten() for g in theirs]), rtol=0, atol=1e-7)


def test_gradients_reach_what_made_the_points() -> None:
    network = normalized("gn").requires_grad_(False)  # as in the generator's step
    z = points().requires_grad_()
    network(2 * z).sum().backward()
    _, gradient = value_and_gradient(network, 2 * z.detach())
    torch.testing.assert_close(z.grad, 2 * gradient)


def test_works_without_gradients_and_in_inference_mode() -> None:
    network, x = normalized("gn"), points()
    expected = network(x).detach()
    with torch.no_grad():
        assert not network(x).requires_grad
        assert torch.equal(network(x), expected)
    with torch.inference_mode():
        assert torch.equal(network(x.clone()), expected)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_dead_critic_gives_zero_and_no_nan() -> None:
    network = normalized("gn")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    value = network(points())
    assert torch.equal(value, torch.zeros(64, dtype=torch.float64))
    value.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("form", FORMS)
def test_autocast_leaves_the_norm_in_float32(form: Any) -> None:
    network, x = normalized(form).float(), points().float()
    expected = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        value = network(x.bfloat16().float())
        assert value.dtype == torch.float32
        value.sum().backward()
        assert network(x.bfloat16()).dtype == torch.float32
    torch.testing.assert_close(network(x), expected)
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_lipschitz_multiplies() -> None:
    network, x = critic(), points()
    once, twice = (NormalizedCritic(network, "gn", 0.1, k)(x) for k in (1.0, 2.0))
    torch.testing.assert_close(twice, 2 * once)


def test_images_have_one_norm_each() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(64, 1))
    network = nn.Sequential(network, nn.Flatten(0)).double()
    wrapped = NormalizedCritic(network, "plain", 0.1, 1.0)
    _, gradient = value_and_gradient(wrapped, torch.randn(5, 1, 6, 6, dtype=torch.float64))
    torch.testing.assert_close(
        gradient.flatten(1).norm(dim=1), torch.ones(5, dtype=torch.float64), atol=1e-5, rtol=0
    )


def test_state_dict_round_trip() -> None:
    first, second, file = normalized("gn"), normalized("gn", seed=5), io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(first(points()), second(points()))


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        (nn.BatchNorm1d(8), "per-sample input gradients need a critic without BatchNorm"),
        (nn.InstanceNorm1d(8, track_running_stats=True), "per-sample input gradients"),
        (nn.Dropout(0.1), "set the dropout of the critic's 1 to 0"),
    ],
)
def test_refuses_critics_whose_gradient_is_not_their_own(layer: nn.Module, line: str) -> None:
    network = nn.Sequential(nn.Linear(4, 8), layer, nn.Linear(8, 1))
    with pytest.raises(ValueError, match=line):
        GradientNormalization().attach(task(network))


def test_warns_of_a_bent_critic() -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 1))
    with pytest.warns(UserWarning, match=r"has GELU: .*needs a piecewise linear critic"):
        GradientNormalization().attach(task(network))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"form": "sum"}, "form must be one of gn, gran, plain, linear, gran_sum, not sum"),
        ({"eps": -1.0}, "eps -1.0 must not be negative"),
        ({"lipschitz": 0.0}, "lipschitz 0.0 above 0"),
    ],
)
def test_refuses_settings(settings: dict, line: str) -> None:
    method = GradientNormalization.__new__(GradientNormalization)
    with pytest.raises(ValueError, match=line):
        inspect.unwrap(GradientNormalization.__init__)(method, **settings)


def test_refuses_a_bounded_loss_beyond_its_bound() -> None:
    with pytest.raises(ValueError, match=r"loss.kind=bce_bounded needs scores in \[-1, 1\]"):
        GradientNormalization(lipschitz=2.0).attach(task(critic(), "bce_bounded"))


def test_two_constraints_are_refused_unless_allowed() -> None:
    both = ["task=adversarial", "method=[gradient_normalization,wgan_gp]"]
    line = r"method=gradient_normalization cannot be combined with method=wgan_gp: one Lipschitz"
    with pytest.raises(UserError, match=line):
        resolve(both)
    allowed = [f"method.{m}.allow_combined=true" for m in ("gradient_normalization", "wgan_gp")]
    resolve([*both, *allowed])
    with pytest.raises(UserError, match=r"needs critic: .*use task=adversarial"):
        resolve(["method=gradient_normalization"])
