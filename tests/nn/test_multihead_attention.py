import copy
import doctest
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suexp.attention import Linear
from suexp.nn import MultiheadAttention

SETTINGS: list[dict[str, Any]] = [
    {},
    {"batch_first": True},
    {"bias": False},
    {"kdim": 6, "vdim": 10, "batch_first": True},
    {"dtype": torch.float64},
]


def pair(**settings: Any) -> tuple[nn.MultiheadAttention, MultiheadAttention]:
    """torch's module and ours with its weights; torch starts ours likewise."""
    torch.manual_seed(1)
    theirs = nn.MultiheadAttention(8, 2, **settings)
    torch.manual_seed(1)
    ours = MultiheadAttention(8, 2, **settings)
    for one, other in zip(theirs.state_dict().items(), ours.state_dict().items(), strict=True):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1])
    with torch.no_grad():
        for weight in theirs.parameters():  # biases begin as zeros
            weight.add_(torch.randn_like(weight), alpha=0.3)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def inputs(settings: dict[str, Any], n: int = 5, m: int = 7) -> list[Tensor]:
    sizes = ((n, 8), (m, settings.get("kdim", 8)), (m, settings.get("vdim", 8)))
    dtype = settings.get("dtype", torch.float32)
    return [
        torch.randn(*((3, k) if settings.get("batch_first") else (k, 3)), c, dtype=dtype)
        for k, c in sizes
    ]


PADDING = torch.tensor([[0, 0, 0, 0, 0, 1, 1], [0] * 7, [0, 0, 0, 1, 1, 1, 1]]).bool()
TABLE = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) < 0.3
TABLE[:, 0] = False
MASKS: dict[str, dict[str, Tensor]] = {
    "none": {},
    "padding": {"key_padding_mask": PADDING},
    "added padding": {"key_padding_mask": torch.randn(3, 7).masked_fill(PADDING, -torch.inf)},
    "table": {"attn_mask": TABLE, "key_padding_mask": PADDING},
    "heads": {"attn_mask": torch.stack([TABLE, ~TABLE | (torch.arange(7) > 4)] * 3)},
    "added": {"attn_mask": torch.randn(5, 7).masked_fill(TABLE, -torch.inf)},
}


@pytest.mark.filterwarnings("ignore:.*mismatched .*mask")
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_softmax_is_torchs(settings: dict[str, Any], masks: str) -> None:
    theirs, ours = pair(**settings)
    given = inputs(settings)
    asked = {
        key: mask if mask.dtype == torch.bool else mask.to(settings.get("dtype"))
        for key, mask in MASKS[masks].items()
    }
    if masks == "heads":  # a row without any key is NaN in torch's
        asked["attn_mask"] = asked["attn_mask"] & (torch.arange(7) > 0)
    for average, weights in itertools.product((True, False), repeat=2):
        flags = {"average_attn_weights": average, "need_weights": weights}
        expected, by = theirs(*given, **asked, **flags)
        found, ours_by = ours(*given, **asked, **flags)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
        assert (by is None) == (ours_by is None) == (not weights)
        if by is not None:
            torch.testing.assert_close(ours_by, by, atol=1e-6, rtol=1e-6)


def test_gradients_are_torchs() -> None:
    theirs, ours = pair()
    x = torch.randn(5, 3, 8)
    for layer in (theirs, ours):
        layer(x, x, x, key_padding_mask=PADDING[:, :5])[0].square().sum().backward()
    for one, other in zip(theirs.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-5)


def test_a_text_without_a_batch() -> None:
    theirs, ours = pair()
    x, padding = torch.randn(5, 8), torch.tensor([False, False, True, False, True])
    for one, other in zip(
        theirs(x, x, x, key_padding_mask=padding),
        ours(x, x, x, key_padding_mask=padding),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


CAUSAL = nn.Transformer.generate_square_subsequent_mask(6)


@pytest.mark.parametrize("mask", [CAUSAL, CAUSAL.isinf(), None], ids=["added", "table", "flag"])
def test_a_causal_mask_reaches_an_attention_in_linear_time(mask: Tensor | None) -> None:
    layer = MultiheadAttention(8, 2, batch_first=True, attention="performer").eval()
    x = torch.randn(2, 6, 8)

    def out(x: Tensor) -> Tensor:
        given = {"attn_mask": mask, "is_causal": mask is None, "need_weights": False}
        return layer(x, x, x, **given)[0]

    later = torch.cat([x[:, :4], torch.randn(2, 2, 8)], 1)
    assert torch.equal(out(x)[:, :4], out(later)[:, :4])
    assert not torch.allclose(out(x)[:, 4:], out(later)[:, 4:])


def test_padding_reaches_it_too() -> None:
    layer = MultiheadAttention(8, 2, batch_first=True, attention="linear")
    x = torch.randn(3, 7, 8)
    out, _ = layer(x, x, x, key_padding_mask=PADDING, need_weights=False)
    alone, _ = layer(x[2:, :3], x[2:, :3], x[2:, :3], need_weights=False)
    torch.testing.assert_close(out[2:, :3], alone)


@pytest.mark.parametrize("training", [True, False])
def test_torchs_encoder_runs_it(training: bool) -> None:
    """Evaluating, its layers would compute softmax attention past the module."""
    settings = {"dropout": 0.0, "batch_first": True}
    layer = nn.TransformerEncoderLayer(8, 2, 16, **settings)
    theirs = nn.TransformerEncoder(copy.deepcopy(layer), 2, enable_nested_tensor=False)
    layer.self_attn = MultiheadAttention(8, 2, batch_first=True, attention=Linear())
    layer.self_attn.load_state_dict(theirs.layers[0].self_attn.state_dict())
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).train(training)
    x = torch.randn(3, 7, 8)
    with torch.no_grad():
        out = encoder(x, src_key_padding_mask=PADDING)
        other = encoder(x.masked_fill(PADDING[..., None], 9.0), src_key_padding_mask=PADDING)
        softmax = theirs(x, src_key_padding_mask=PADDING)
    torch.testing.assert_close(out[~PADDING], other[~PADDING])
    assert not torch.allclose(out[~PADDING], softmax[~PADDING], atol=1e-4)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_an_encoder_that_nests_its_texts_is_told_not_to() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    for layer in encoder.layers:
        layer.self_attn = MultiheadAttention(8, 2, batch_first=True, attention=Linear())
    padding = torch.tensor([[False] * 7, [False] * 3 + [True] * 4])
    with torch.no_grad(), pytest.raises(ValueError, match="encoder with enable_nested_tensor=F"):
        encoder.eval()(torch.randn(2, 7, 8), src_key_padding_mask=padding)


def test_weights_of_torchs_module_load_and_ones_own_come_back() -> None:
    theirs, _ = pair()
    layer = MultiheadAttention(8, 2, attention="performer", num_features=3)
    own = layer.attention.projection.clone()
    assert layer.load_state_dict(theirs.state_dict()).missing_keys == []
    assert torch.equal(layer.attention.projection, own)
    other = MultiheadAttention(8, 2, attention="performer", num_features=3)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.attention.projection, own)
    x = torch.randn(4, 1, 8)
    layer, other = layer.eval(), other.eval()
    assert torch.equal(*(i(x, x, x, need_weights=False)[0] for i in (layer, other)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"attention": "perfomer"},
            "attention=perfomer: no such attention; did you mean performer",
        ),
        ({"attention": "performer", "features": 3}, "attention=performer has no argument features"),
        ({"attention": "performer", "dropout": 0.1}, "forms no weights that could be dropped"),
        ({"attention": "realformer"}, "hands scores from layer to layer"),
        ({"attention": Linear(), "scale": 1}, "scale: an attention that is made takes no more"),
        ({"add_zero_attn": True}, "use torch.nn.MultiheadAttention"),
    ],
)
def test_what_cannot_be_built_is_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        MultiheadAttention(8, 2, **settings)
    assert "\n" not in str(raised.value)


def test_what_cannot_be_computed_is_one_line() -> None:
    layer = MultiheadAttention(8, 2, batch_first=True, attention="linear")
    x, y = torch.randn(3, 5, 8), torch.randn(3, 7, 8)
    with pytest.raises(ValueError, match="Linear forms no weights to return; pass need_weights=F"):
        layer(x, x, x)
    with pytest.raises(ValueError, match="attention=linear cannot use this mask"):
        layer(x, y, y, attn_mask=TABLE, need_weights=False)
    with pytest.raises(ValueError, match="attention=linear takes no bias"):
        layer(x, y, y, attn_mask=torch.randn(5, 7), need_weights=False)


def test_the_example_runs() -> None:
    (test,) = doctest.DocTestFinder(recurse=False).find(MultiheadAttention, "it", globs={})
    assert len(test.examples) >= 5
    assert doctest.DocTestRunner().run(test).failed == 0
