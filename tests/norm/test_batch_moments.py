"""batch_center and batch_scale: halves of batch normalisation."""

import pytest
import torch
from torch import nn

from suexp.nn.param_groups import param_groups
from suexp.norm import RMS, Batch, BatchCenter, BatchScale, Layer

BOTH = (BatchCenter, BatchScale)


def naive(kind: type, x: torch.Tensor) -> torch.Tensor:
    axes = tuple(range(x.ndim - 1))
    if kind is BatchCenter:
        return x - x.mean(axes)
    return x / (x.square().mean(axes) + 1e-5).sqrt()


@pytest.mark.parametrize("kind", BOTH)
def test_equals_the_formula_in_value_and_gradient(kind: type) -> None:
    x = (2 + torch.randn(4, 5, 6).double()).requires_grad_()
    weights = torch.randn(4, 5, 6).double()
    norm = kind(6).double()
    (found,) = torch.autograd.grad((norm(x) * weights).sum(), x)
    (expected,) = torch.autograd.grad((naive(kind, x) * weights).sum(), x)
    torch.testing.assert_close(norm(x), naive(kind, x), atol=1e-12, rtol=0)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    frozen = kind(6, detach_stats=True).double()
    torch.testing.assert_close(frozen(x), naive(kind, x), atol=1e-12, rtol=0)
    (other,) = torch.autograd.grad((frozen(x) * weights).sum(), x)
    assert (other - expected).abs().max() > 1e-3


def test_centred_and_scaled_it_is_batch_normalisation() -> None:
    x = 3 + 2 * torch.randn(50, 6)
    both = nn.Sequential(BatchCenter(6), BatchScale(6))
    torch.testing.assert_close(both(x), nn.BatchNorm1d(6)(x))


@pytest.mark.parametrize("kind", BOTH)
def test_evaluation_uses_the_running_average(kind: type) -> None:
    norm = kind(3, momentum=0.25, affine=False)
    batches = torch.randn(2, 8, 3) + 1
    running = torch.full((3,), 0.0 if kind is BatchCenter else 1.0)
    for x in batches:
        norm(x)
        s = x.mean(0) if kind is BatchCenter else x.square().mean(0)
        running = 0.75 * running + 0.25 * s
    torch.testing.assert_close(norm.running, running)
    norm.eval()
    x = torch.randn(5, 3)
    expected = x - running if kind is BatchCenter else x / (running + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), expected)
    again = kind(3, affine=False)
    again.load_state_dict(norm.state_dict())
    torch.testing.assert_close(again.eval()(x), expected)


def test_centring_leaves_the_functions_as_they_are() -> None:
    """A linear layer behind it computes the same with the bias b + W mu."""
    norm, layer, plain = BatchCenter(6, affine=False), nn.Linear(6, 4), nn.Linear(6, 4)
    for _ in range(20):
        norm(2 + torch.randn(30, 6))
    norm.eval()
    with torch.no_grad():
        plain.weight.copy_(layer.weight)
        plain.bias.copy_(layer.bias - layer.weight @ norm.running)
    x = torch.randn(10, 6)
    torch.testing.assert_close(plain(x), layer(norm(x)), atol=1e-5, rtol=0)


def test_behind_a_linear_map_batch_norm_hides_its_scale() -> None:
    torch.manual_seed(0)
    x, target = torch.randn(64, 6).double(), torch.randn(64, 4).double()
    outputs, gradients = [], []
    for factor in (1.0, 8.0):
        torch.manual_seed(1)
        layer, norm = nn.Linear(6, 4).double(), Batch(4, eps=1e-12).double()
        with torch.no_grad():
            layer.weight.mul_(factor)
        y = norm(layer(x))
        (y - target).square().sum().backward()
        outputs.append(y.detach())
        gradients.append(layer.weight.grad)
    torch.testing.assert_close(*outputs, atol=1e-9, rtol=0)
    torch.testing.assert_close(gradients[0] / 8, gradients[1], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("kind", BOTH)
def test_types_shapes_kinds_and_refusals(kind: type) -> None:
    x = 100 + torch.randn(8, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = kind(6)(x.bfloat16())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, naive(kind, x.bfloat16().float()).bfloat16())
    assert kind(6).double()(x.double()).dtype == torch.float64
    groups = param_groups(nn.Sequential(kind(6), nn.Linear(6, 6)))
    assert [group["kind"] for group in groups] == ["matrix", "gain", "bias"]
    assert not list(kind(6, affine=False).parameters())
    with pytest.raises(ValueError, match="needs more than one row in training; use norm=layer"):
        kind(6)(x[:1])
    assert kind(6).eval()(x[:1]).shape == (1, 6)
    with pytest.raises(ValueError, match="dim must be at least 1, not 0"):
        kind(0)
    with pytest.raises(ValueError, match="momentum=2"):
        kind(2, momentum=2.0)


@pytest.mark.parametrize(
    "norm",
    [
        Layer(4, eps=0.5, bias=False),
        RMS(4, eps=0.5),
        Batch(4, eps=0.5, momentum=0.3, affine=False),
        BatchCenter(4, momentum=0.3, affine=False, detach_stats=True),
        BatchScale(4, eps=0.5, momentum=0.3, affine=False, detach_stats=True),
    ],
)
def test_another_size_keeps_the_settings(norm: nn.Module) -> None:
    other = norm.sized(7)
    assert type(other) is type(norm)
    assert {type(p) for p in other.parameters()} == {type(p) for p in norm.parameters()}
    for name in ("eps", "momentum", "affine", "detach_stats"):
        assert getattr(other, name, None) == getattr(norm, name, None)
    assert other(torch.randn(5, 7)).shape == (5, 7)
