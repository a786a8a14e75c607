import pytest
import torch
from torch import Tensor

from suexp.attention import Softmax
from suexp.init import Default
from suexp.mask import Causal, Prefix
from suexp.mask.base import Mask
from suexp.model import Transformer
from suexp.nn.generate import choose, generate
from suexp.norm import Layer
from suexp.position import Alibi, Learned, Rope, Sinusoidal
from suexp.position.base import Position

POSITIONS = [lambda: Learned(24, 16), lambda: Sinusoidal(16), lambda: Rope(8), lambda: Alibi(2)]


def build(position: Position, mask: Mask) -> Transformer:
    torch.manual_seed(0)
    init = Default(gain=2.0, embedding_std=1.0)  # sharp, so that greedy choices are clear
    return Transformer(11, Softmax(), position, Layer(16), mask, init, dim=16, num_heads=2)


def uncached(model: Transformer, tokens: Tensor, steps: int, **facts: Tensor) -> Tensor:
    """Greedy decoding that reads the whole text again for every token."""
    for _ in range(steps):
        best = model(tokens, **facts)[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat((tokens, best), 1)
    return tokens


@pytest.mark.parametrize("position", POSITIONS)
def test_greedy_equals_uncached(position) -> None:
    model = build(position(), Causal()).eval()
    prompt = torch.randint(11, (3, 4))
    tokens = generate(model, prompt, 20, temperature=0.0)
    assert tokens.shape == (3, 24)
    assert len(set(tokens[0].tolist())) > 2
    assert torch.equal(tokens, uncached(model, prompt, 20))


def test_prefix_masks_keep_their_prefix() -> None:
    model = build(Rope(8), Prefix(length=None)).eval()
    prompt, facts = torch.randint(11, (2, 5)), {"prefix_length": torch.tensor([2, 5])}
    tokens = generate(model, prompt, 6, temperature=0.0, **facts)
    assert torch.equal(tokens, uncached(model, prompt, 6, **facts))


def test_goes_on_where_positions_end() -> None:
    model = build(Learned(8, 16), Causal()).eval()
    prompt = torch.randint(11, (2, 20))
    tokens = generate(model, prompt, 3, temperature=0.0)
    expected = uncached(model, prompt[:, -8:], 0)
    expected = torch.cat((prompt, model(expected)[:, -1].argmax(-1, keepdim=True)), 1)
    assert torch.equal(tokens[:, :21], expected)
    rest = uncached(model, tokens[:, 17:21], 2)
    assert torch.equal(tokens[:, 17:], rest)


def test_a_generator_fixes_the_draws() -> None:
    model, prompt = build(Rope(8), Causal()), torch.randint(11, (2, 4))
    draws = [
        generate(model, prompt, 8, 1.0, None, torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_no_new_tokens() -> None:
    model, prompt = build(Rope(8), Causal()), torch.randint(11, (2, 4))
    assert torch.equal(generate(model, prompt, 0), prompt)


def test_evaluates_and_restores_the_mode() -> None:
    model = build(Rope(8), Causal())
    modes = []
    model.blocks[0].attention.dropout.register_forward_hook(
        lambda module, *_: modes.append(module.training)
    )
    generate(model, torch.zeros(1, 1, dtype=torch.long), 2)
    assert modes == [False, False]
    assert model.training


def test_choice_follows_the_tempered_distribution() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).expand(20000, 4)
    tokens = choose(logits, temperature=0.5, top_k=None, generator=None)
    shares = torch.bincount(tokens.flatten(), minlength=4) / 20000
    torch.testing.assert_close(shares, (2 * logits[0]).softmax(-1), atol=0.01, rtol=0)


def test_top_k_cuts_the_rest() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).expand(20000, 4)
    tokens = choose(logits, temperature=1.0, top_k=2, generator=None)
    shares = torch.bincount(tokens.flatten(), minlength=4) / 20000
    expected = torch.tensor([0.0, 0.2689, 0.7311, 0.0])
    torch.testing.assert_close(shares, expected, atol=0.01, rtol=0)
    assert (choose(logits, 1.0, top_k=1, generator=None) == 2).all()
    assert choose(logits, 1.0, top_k=99, generator=None).unique().numel() == 4


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"temperature": -1.0}, "temperature must be at least 0, not -1"),
        ({"top_k": 0}, "top_k must be at least 1, not 0"),
        (
            {"prompt": torch.zeros(1, 0, dtype=torch.long)},
            "the prompt must hold at least one token",
        ),
    ],
)
def test_refuses_bad_arguments(arguments: dict, line: str) -> None:
    given = {"prompt": torch.zeros(1, 1, dtype=torch.long), "max_new_tokens": 1} | arguments
    with pytest.raises(ValueError, match=line):
        generate(build(Rope(8), Causal()), **given)
