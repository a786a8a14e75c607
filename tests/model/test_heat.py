import pytest
import torch

from suexp.extrapolator import Copy, LinearPDE, MaskToken
from suexp.model import ConvClassifier, Heat
from suexp.transform.copy import Copy as CopyWeights


def model(**settings: int) -> Heat:
    return Heat(256, LinearPDE(8), dim=8, width=4, **settings)


@pytest.mark.parametrize("corner", [(0, 0), (2, 3), (4, 4)])
def test_hidden_pixels_do_not_reach_the_encoder(corner: tuple[int, int]) -> None:
    net, x = model(), torch.randn(2, 256, requires_grad=True)
    predicted = net(x, corner, 4)
    predicted.square().sum().backward()
    assert x.grad is not None
    top, left = 2 * corner[0], 2 * corner[1]
    hidden = torch.ones(16, 16, dtype=torch.bool)
    hidden[top : top + 8, left : left + 8] = False
    assert (x.grad[:, hidden.flatten()] == 0).all()
    assert (x.grad[:, ~hidden.flatten()] != 0).all()
    changed = torch.where(hidden.flatten(), torch.randn(2, 256), x)
    assert torch.equal(net(changed, corner, 4), predicted)


def test_the_decoder_sees_one_cell_or_its_neighbours() -> None:
    for context, reach in ((0, 0), (1, 2)):
        net = model(decoder_context=context)
        features = torch.randn(1, 8, 8, 8, requires_grad=True)
        net.decoder(features)[0, 0, 8, 8].backward()  # a pixel of cell (4, 4)
        assert features.grad is not None
        rows = features.grad.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
        assert rows == list(range(4 - reach, 5 + reach))


def test_shapes_and_colours() -> None:
    net = Heat(3 * 144, Copy(8), dim=8, width=4, stride=3, channels=3)
    x = torch.rand(5, 3 * 144)
    assert net.encode(x).shape == (5, 8, 4, 4)
    assert net(x, (1, 1), 2).shape == x.shape


def test_a_probe_takes_the_encoder_over() -> None:
    parent, child = model(), ConvClassifier(256, 12, dim=8, width=4)
    CopyWeights(["extrapolator", "decoder", "head", "classifier"])(parent, child)
    for name, value in parent.encoder.state_dict().items():
        assert torch.equal(child.encoder.state_dict()[name], value)


@pytest.mark.parametrize("head", ["linear", "conv"])
def test_a_classifier_s_head(head: str) -> None:
    net = ConvClassifier(256, 5, head=head, dim=8, width=4)  # type: ignore[arg-type]
    x = torch.randn(6, 256)
    net(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        assert net(x).shape == (6, 5)
    if head == "linear":
        net.eval()
        norm, linear = net.head[2], net.classifier
        mean = net.encoder(x.view(-1, 1, 16, 16)).mean((2, 3))
        torch.testing.assert_close(net(x), linear(norm(mean)))


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"15 pixels is no multiple of model\.stride=2"):
        Heat(225, Copy(8), dim=8, width=4)
    with pytest.raises(ValueError, match="no square image of 1 channels"):
        ConvClassifier(200, 3, dim=8, width=4)
    with pytest.raises(ValueError, match="dim=6 and width=4 must be multiples of 4"):
        Heat(256, Copy(6), dim=6, width=4)
    assert "context" in MaskToken.needs
