import pytest
import torch

from suexp.model.resnet import ResNet


def test_is_resnet_18_of_cifar() -> None:
    model = ResNet(3 * 32 * 32, 10, channels=3)
    # Convolutions and the last layer are the 18 layers; 11,173,962 as in the usual listings.
    assert sum(p.numel() for p in model.parameters()) == 11_173_962
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len([m for m in layers if getattr(m, "kernel_size", (3, 3)) == (3, 3)]) == 18


def test_shapes_and_gradients() -> None:
    model = ResNet(64, 5, blocks=(1, 2), width=3)
    logits = model(torch.rand(4, 64))
    assert logits.shape == (4, 5)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_block_by_hand() -> None:
    """With one block whose second norm is off, relu(x) goes through unchanged."""
    model = ResNet(16, 2, blocks=(1,), width=2).eval()
    torch.nn.init.zeros_(model.layers[0].second_norm.weight)
    x = torch.rand(3, 16)
    features = model.first_norm(model.first(x.view(3, 1, 4, 4))).relu()
    torch.testing.assert_close(model(x), model.classifier(features.mean((2, 3))))


def test_runs_in_sixteen_bits_and_keeps_its_state() -> None:
    model, other = (ResNet(64, 3, blocks=(1, 1), width=4) for _ in range(2))
    x = torch.rand(2, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(x).isfinite().all()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.eval()(x), model.eval()(x))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((63, 10), "no square image of 1 channels"),
        ((16, 10), "4 stages halve a side of 4 to nothing"),
        ((64, 10, (2, 0)), "must be at least 1"),
    ],
)
def test_refusals(arguments: tuple, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        ResNet(*arguments)
