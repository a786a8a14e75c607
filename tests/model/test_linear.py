import pytest
import torch

from suexp.model.linear import Linear


def test_starts_at_even_chances():
    model = Linear(3, 4)
    assert torch.equal(model(torch.randn(5, 3)), torch.zeros(5, 4))
    assert sum(p.numel() for p in model.parameters()) == 16
    assert sum(p.numel() for p in Linear(3, 4, bias=False).parameters()) == 12


def test_is_linear():
    model = Linear(2, 2)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        model.classifier.bias.copy_(torch.tensor([0.5, -0.5]))
    assert model(torch.tensor([[1.0, -1.0]])).tolist() == [[-0.5, -1.5]]


def test_refuses_empty_sizes():
    with pytest.raises(ValueError, match="input_dim must be at least 1, not 0"):
        Linear(0, 2)
