"""All in the mask: known answers of https://kexue.fm/archives/6933 inside a whole model."""

import pytest
import torch
from torch import Tensor

from suexp.attention import Softmax
from suexp.init import Default
from suexp.mask import Bidirectional, Causal, Permutation, Prefix, Reversed
from suexp.mask.base import Mask
from suexp.model import Transformer
from suexp.norm import Layer
from suexp.position import Alibi, Learned, Rope
from suexp.position.base import Position

N = 7
ORDER = [0, 3, 1, 6, 2, 5, 4]  # the start token is the first


def build(mask: Mask, position: Position | None = None, layers: int = 3) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(
        11,
        Softmax(),
        position or Rope(8),
        Layer(16),
        mask,
        Default(),
        dim=16,
        num_heads=2,
        num_layers=layers,
        num_segments=2,
        bias=True,
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def text(rows: int = 2) -> Tensor:
    return torch.randint(11, (rows, N), generator=torch.Generator().manual_seed(1))


def test_a_prefix_of_one_token_is_causal_and_one_of_all_hides_nothing() -> None:
    x = text()
    prefix = build(Prefix(None))
    for length, same in ((0, Causal()), (1, Causal()), (N, Bidirectional())):
        found = prefix(x, prefix_length=torch.full((2,), length))
        torch.testing.assert_close(found, build(same)(x), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("position", [lambda: Rope(8), lambda: Learned(N, 16), lambda: Alibi(2)])
def test_a_permuted_mask_is_a_permuted_text_under_the_causal_mask(position) -> None:
    """Tokens in the order z that keep their own positions, read from left to right."""
    x, z = text(), torch.tensor(ORDER)
    masked = build(Permutation(ORDER), position())
    causal = build(Causal(), position())
    y, mask = causal.embed(x[:, z], None, z), Causal()
    rotate, bias, _ = causal.relate(z, z)
    for block in causal.blocks:
        y = block(y, mask, rotate, bias)
    torch.testing.assert_close(masked.hidden(x)[:, z], causal.norm(y), atol=1e-5, rtol=1e-5)


def test_the_identical_order_is_causal() -> None:
    torch.testing.assert_close(build(Permutation(list(range(N))))(text()), build(Causal())(text()))


MASKS = [Causal(), Reversed(), Prefix(3), Permutation(ORDER), Bidirectional()]


@pytest.mark.parametrize("mask", MASKS, ids=lambda mask: type(mask).__name__)
def test_nothing_leaks_through_any_layer(mask: Mask) -> None:
    """The gradient of logits i for embedding j is exactly 0 for every forbidden pair, only then.

    These masks are transitive: what a token may not see directly it does not see through others.
    """
    model = build(mask)
    x = model.embedding(text(1)).detach().requires_grad_()
    y = x
    places = torch.arange(N)
    rotate, bias, _ = model.relate(places, places)
    for block in model.blocks:
        y = block(y, mask, rotate, bias)
    allowed = mask.dense(N, N)
    allowed = torch.ones(N, N, dtype=torch.bool) if allowed is None else allowed
    for i in range(N):
        (gradient,) = torch.autograd.grad(model.norm(y)[0, i].square().sum(), x, retain_graph=True)
        assert torch.equal(gradient[0].abs().sum(-1) > 0, allowed[i])


@pytest.mark.parametrize("mask", [Causal(), Prefix(None)], ids=["causal", "prefix"])
def test_the_source_does_not_depend_on_the_target(mask: Mask) -> None:
    model, x = build(mask), text()
    facts = {"prefix_length": torch.tensor([4, 4])}
    other = torch.cat((x[:, :4], (x[:, 4:] + 1) % 11), 1)
    assert torch.equal(model(x, **facts)[:, :4], model(other, **facts)[:, :4])


@pytest.mark.parametrize("mask", [Causal(), Prefix(None), Reversed(), Bidirectional()])
def test_longer_padding_changes_no_real_logits(mask: Mask) -> None:
    model, x = build(mask), text()
    facts = {"prefix_length": torch.tensor([4, 3])}
    lengths = torch.tensor([[7], [5]])
    short = model(x, torch.arange(N) < lengths, **facts)
    longer = torch.nn.functional.pad(x, (0, 9))
    long = model(longer, torch.arange(N + 9) < lengths, **facts)
    assert long.isfinite().all()
    for row, length in enumerate(lengths.flatten().tolist()):
        torch.testing.assert_close(long[row, :length], short[row, :length], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("mask", [Causal(), Prefix(None)], ids=["causal", "prefix"])
def test_decoding_with_a_cache_equals_the_whole(mask: Mask) -> None:
    """The source is read once, as a whole."""
    model, x = build(mask), text()
    facts = {"prefix_length": torch.tensor([4, 4])}
    kinds = (torch.arange(N) >= 4).long().expand(2, N)
    logits, state = model.decode(x[:, :4], None, segments=kinds[:, :4], **facts)
    pieces = [logits]
    for t in range(4, N):
        logits, state = model.decode(x[:, t : t + 1], state, segments=kinds[:, t : t + 1])
        pieces.append(logits)
    expected = model(x, segments=kinds, **facts)
    torch.testing.assert_close(torch.cat(pieces, 1), expected, atol=1e-5, rtol=1e-5)
