import pytest
import torch

from suexp.init import Default
from suexp.model import BagEncoder
from suexp.norm import Batch, Layer


def build(**changes) -> BagEncoder:
    torch.manual_seed(0)
    return BagEncoder(
        **({"vocab_size": 11, "init": Default(), "norm": Layer(8), "dim": 8} | changes)
    )


TOKENS = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
KEEP = torch.tensor([[True] * 4, [True, True, False, False]])


def test_equals_its_equation() -> None:
    model = build(num_layers=2)
    h = model.embedding.weight[TOKENS[0]].mean(0)
    for norm, layer in zip(model.norms, model.layers, strict=True):
        h = h + layer.output(torch.relu(layer.input(norm(h))))
    torch.testing.assert_close(model(TOKENS[:1])[0], h)


def test_padding_and_order_change_nothing() -> None:
    model = build()
    vectors = model(TOKENS, KEEP)
    torch.testing.assert_close(vectors[1:], model(TOKENS[1:, :2]))
    torch.testing.assert_close(vectors[:1], model(TOKENS[:1].flip(1)))


def test_an_empty_text_is_finite() -> None:
    vectors = build(num_layers=0)(TOKENS[:1], torch.zeros(1, 4, dtype=torch.bool))
    assert torch.equal(vectors, torch.zeros(1, 8))


def test_classifies() -> None:
    assert build(num_outputs=3)(TOKENS, KEEP).shape == (2, 3)


@pytest.mark.parametrize("norm", [None, Batch(8)])
def test_norms(norm: torch.nn.Module | None) -> None:
    model = build(norm=norm)
    model(TOKENS, KEEP).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_autocast_and_state_dict() -> None:
    model, other = build(), build(dim=8)
    with torch.autocast("cpu", torch.bfloat16):
        low = model(TOKENS, KEEP)
    torch.testing.assert_close(low.float(), model(TOKENS, KEEP), atol=0.02, rtol=0.02)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(TOKENS, KEEP), model(TOKENS, KEEP))


def test_refuses_sizes_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="dim must be at least 1, not 0"):
        build(dim=0)
