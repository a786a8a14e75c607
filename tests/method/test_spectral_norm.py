import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from suexp.method.spectral_norm import SpectralNorm
from tests.method.critics import critic, points, task


def test_equals_torchs_in_value_and_gradient() -> None:
    ours, theirs = critic(), critic()
    torch.manual_seed(7)
    SpectralNorm().attach(task(ours))
    torch.manual_seed(7)
    for layer in theirs.layers:
        if isinstance(layer, nn.Linear):
            parametrizations.spectral_norm(layer)
    for _ in range(3):
        value, expected = ours(points()), theirs(points())
        assert torch.equal(value, expected)
    value.sum().backward()
    expected.sum().backward()
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert torch.equal(p.grad, q.grad), name  # type: ignore[arg-type]


def test_largest_singular_values_become_one() -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(64, 1))
    SpectralNorm(num_iterations=50).attach(task(network))
    network(torch.randn(3, 2, 6, 6))
    for layer in (network[0], network[3]):
        value = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        torch.testing.assert_close(value, torch.ones(()), rtol=1e-3, atol=1e-3)


def test_evaluation_changes_nothing_and_copies_work() -> None:
    network = critic()
    SpectralNorm().attach(task(network))
    network.eval()
    assert torch.equal(network(points()), network(points()))
    assert torch.equal(copy.deepcopy(network)(points()), network(points()))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="num_iterations must be at least 1, not 0"):
        SpectralNorm(num_iterations=0)
    with pytest.raises(ValueError, match="ReLU has no linear layer and no convolution"):
        SpectralNorm().attach(task(nn.ReLU()))
