"""Gated dilated convolutions: what a score sees, in the beginning and later."""

from typing import Any

import pytest
import torch
from torch import nn

from suexp.init import Default
from suexp.model.dgcnn_tagger import DGCNNTagger, GatedConvolution
from suexp.norm import Layer


def model(alpha: float | None = None, **changes: Any) -> DGCNNTagger:
    torch.manual_seed(0)
    made = DGCNNTagger(6, Default(), **({"norm": Layer(8), "dim": 8} | changes)).eval()
    for layer in made.layers:
        if alpha is not None:
            nn.init.constant_(layer.alpha, alpha)  # type: ignore[arg-type]
    return made


def test_it_begins_as_a_linear_map_of_each_sentence() -> None:
    made, x = model(), torch.randn(2, 9, 6)
    weight = made.classifier.weight @ made.first.weight
    torch.testing.assert_close(made(x), (x @ weight.T).squeeze(-1) + made.classifier.bias)
    linear = model(dilations=[])
    linear.load_state_dict(made.state_dict(), strict=False)
    torch.testing.assert_close(made(x), linear(x))
    assert not torch.allclose(made(x), model(0.5)(x))


@pytest.mark.parametrize(
    ("changes", "width"),
    [
        ({}, 35),
        ({"dilations": [2]}, 5),
        ({"dilations": [], "kernel_size": 5}, 1),
        ({"dilations": [1, 3], "kernel_size": 5}, 17),
    ],
)
def test_how_many_sentences_a_score_sees(changes: dict[str, Any], width: int) -> None:
    x = torch.randn(1, 81, 6, requires_grad=True)
    model(0.5, **changes)(x)[0, 40].backward()
    assert x.grad is not None
    seen = (x.grad[0].abs().sum(-1) > 0).nonzero().flatten().tolist()
    if width in (17, 35):
        assert seen == list(range(40 - width // 2, 41 + width // 2))
    else:
        assert seen == ([38, 40, 42] if width == 5 else [40])


def test_a_layer_by_hand() -> None:
    layer = GatedConvolution(4, 3, 2, None)
    nn.init.constant_(layer.alpha, 0.7)
    x = torch.randn(1, 6, 4)
    padded = nn.functional.pad(x, (0, 0, 2, 2))[0]
    for place in range(6):
        seen = torch.stack([padded[place], padded[place + 2], padded[place + 4]], dim=-1)
        ab = torch.einsum("ock,ck->o", layer.convolution.weight, seen) + layer.convolution.bias
        expected = x[0, place] + 0.7 * ab[:4] * torch.sigmoid(ab[4:])
        torch.testing.assert_close(layer(x, None)[0, place], expected)


def test_padding_changes_nothing() -> None:
    made, x = model(0.5), torch.randn(3, 12, 6)
    keep = torch.arange(12) < torch.tensor([12, 1, 5])[:, None]
    found = made(x, keep)
    other = made(torch.where(keep.unsqueeze(-1), x, 7.0), keep)
    for row, n in enumerate([12, 1, 5]):
        torch.testing.assert_close(found[row, :n], made(x[row : row + 1, :n])[0])
        torch.testing.assert_close(found[row, :n], other[row, :n])


def test_the_convolutions_begin_to_learn() -> None:
    """At the start only alpha has a gradient; after a step of it the filters have one, too."""
    made, x = model(), torch.randn(2, 9, 6)
    made(x).square().sum().backward()
    layer: Any = made.layers[0]
    assert layer.alpha.grad.abs() > 0
    assert layer.convolution.weight.grad.abs().max() == 0
    made = model(0.1)
    made(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in made.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_size": 2}, "kernel_size must be odd, not 2"),
        ({"dilations": [1, 0]}, "dilations must be at least 1, not 0"),
        ({"dim": 0}, "dim must be at least 1, not 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    ],
)
def test_mistakes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DGCNNTagger(6, Default(), **changes)
