"""What the models that give a label for each token have in common."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suexp.init import Default
from suexp.model.bilstm import Bilstm
from suexp.model.conv_tagger import ConvTagger
from suexp.norm import Layer

CONV: dict[str, Any] = {"num_labels": 3, "dim": 8}
MODELS: dict[str, Callable[..., nn.Module]] = {
    "conv": lambda **k: ConvTagger(
        11, Default(), num_labels=3, **({"norm": Layer(8), "dim": 8} | k)
    ),
    "plain_conv": lambda **k: ConvTagger(
        11, Default(), num_labels=3, **({"dim": 8, "kernel_size": 5} | k)
    ),
    "bilstm": lambda **k: Bilstm(11, 3, Default(), **({"dim": 8, "num_layers": 2} | k)),
}
EVERY = pytest.mark.parametrize("name", MODELS)


def tokens(b: int = 3, n: int = 9) -> Tensor:
    return torch.randint(11, (b, n))


@EVERY
def test_padding_changes_nothing(name: str) -> None:
    model, x = MODELS[name](), tokens()
    lengths = [9, 1, 4]
    keep = torch.arange(9) < torch.tensor(lengths)[:, None]
    batch = model(x, keep)
    assert batch.shape == (3, 9, 3)
    longer = model(nn.functional.pad(x, (0, 5), value=7), nn.functional.pad(keep, (0, 5)))
    for row, n in enumerate(lengths):
        alone = model(x[row : row + 1, :n])[0]
        torch.testing.assert_close(batch[row, :n], alone)
        torch.testing.assert_close(longer[row, :n], alone)


@EVERY
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_trains_with_finite_gradients(name: str, precision: torch.dtype) -> None:
    model, x = MODELS[name](dropout=0.1), tokens()
    keep = torch.arange(9) < torch.tensor([9, 2, 5])[:, None]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        logits = model(x, keep)
    logits[keep].float().square().sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize(("layers", "kernel"), [(1, 3), (3, 3), (2, 5)])
def test_a_convolution_s_field_of_view(layers: int, kernel: int) -> None:
    model = ConvTagger(11, Default(), num_labels=3, dim=8, num_layers=layers, kernel_size=kernel)
    reach = layers * (kernel // 2)
    x = tokens(1, 31)
    other = x.clone()
    other[0, 15] = (x[0, 15] + 1) % 11
    moved = (model(x) - model(other)).abs().sum(-1)[0] > 1e-9
    assert moved.nonzero().flatten().tolist() == list(range(15 - reach, 15 + reach + 1))


def test_an_lstm_reads_both_directions() -> None:
    model, x = MODELS["bilstm"](), tokens(1, 20)
    for place in (0, 19):
        other = x.clone()
        other[0, place] = (x[0, place] + 1) % 11
        assert ((model(x) - model(other)).abs().sum(-1) > 0).all()


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("conv", {"kernel_size": 4}, "kernel_size must be odd, not 4"),
        ("conv", {"num_layers": 0}, "num_layers must be at least 1, not 0"),
        ("bilstm", {"dim": 7}, "dim must be even, a half for each direction, not 7"),
        ("bilstm", {"num_layers": 0}, "num_layers must be at least 1"),
    ],
)
def test_mistakes(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS[name](**changes)


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_convolutions_judge_a_text_by_its_real_tokens(pool: Any) -> None:
    model, x = ConvTagger(11, Default(), dim=8, pool=pool, num_outputs=5), tokens()
    lengths = [9, 1, 4]
    keep = torch.arange(9) < torch.tensor(lengths)[:, None]
    logits = model(x, keep)
    assert logits.shape == (3, 5)
    for row, n in enumerate(lengths):
        torch.testing.assert_close(logits[row], model(x[row : row + 1, :n])[0])
    bare = ConvTagger(11, Default(), dim=8, num_layers=1, pool=pool, num_outputs=0)
    with torch.no_grad():
        for part in bare.convolutions.parameters():
            part.zero_()
    words = bare.embedding(x)[2, :4]
    expected = words.amax(0) if pool == "max" else words.mean(0)
    torch.testing.assert_close(bare(x, keep)[2], expected)
    none = torch.zeros_like(keep)
    assert bare(x, none).abs().max() == 0  # a text of padding
    with pytest.raises(ValueError, match="give num_labels"):
        ConvTagger(11, Default())
