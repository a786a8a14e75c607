import pytest
import torch

from suexp.decoding import Beam, Greedy
from suexp.decoding.base import Decoding, Forbid
from suexp.mask import Bidirectional, Causal, Permutation, Prefix
from suexp.normalizer import Softmax, Sparse, Taylor
from suexp.normalizer.base import Normalizer
from suexp.position import Alibi, Learned, Rope, Sinusoidal
from tests.decoding.models import build, prompts, uncached

POSITIONS = [lambda: Learned(24, 16), lambda: Sinusoidal(16), lambda: Rope(8), lambda: Alibi(2)]


@pytest.mark.parametrize("position", POSITIONS)
def test_equals_uncached(position) -> None:
    model, prompt = build(position()).eval(), prompts()
    new = Greedy()(model, prompt, 20)
    assert new.tokens.shape == (3, 20)
    assert new.keep.all()
    assert new.tokens.unique().numel() > 2
    assert torch.equal(torch.cat((prompt, new.tokens), 1), uncached(model, prompt, 20))


def test_prefix_masks_keep_their_prefix() -> None:
    model = build(mask=Prefix(length=None)).eval()
    prompt, facts = prompts(2, 5), {"prefix_length": torch.tensor([2, 5])}
    new = Greedy()(model, prompt, 6, **facts)
    expected = uncached(model, prompt, 6, **facts)
    assert torch.equal(torch.cat((prompt, new.tokens), 1), expected)


def test_score_is_the_log_likelihood() -> None:
    model, prompt = build().eval(), prompts()
    new = Greedy()(model, prompt, 5)
    with torch.no_grad():
        logp = model(torch.cat((prompt, new.tokens), 1)).log_softmax(-1)[:, 3:-1]
    expected = logp.gather(2, new.tokens[..., None]).sum((1, 2))
    torch.testing.assert_close(new.score, expected)


def test_prompts_of_different_lengths() -> None:
    """A padded batch, on either side, writes what each text alone would."""
    model, prompt = build(mask=Prefix(None), num_segments=2).eval(), prompts(2, 5)
    lengths = torch.tensor([5, 3])
    right = torch.arange(5) < lengths[:, None]
    new = Greedy()(
        model, prompt, 6, keep=right, segments=0 * prompt, new_segment=1, prefix_length=lengths
    )
    for row, length in enumerate(lengths.tolist()):
        alone = prompt[row : row + 1, :length]
        facts = {"prefix_length": lengths[row : row + 1]}
        one = Greedy()(model, alone, 6, segments=0 * alone, new_segment=1, **facts)
        assert one.tokens[0].tolist() == new.tokens[row].tolist()
    causal = build().eval()
    left = right.flip(1)
    new = Greedy()(causal, prompt, 6, keep=left)
    assert torch.equal(new.tokens[1:], uncached(causal, prompt[1:, 2:], 6)[:, 3:])


def test_ends_where_the_end_token_comes() -> None:
    model, prompt = build().eval(), prompts()
    free = Greedy()(model, prompt, 12).tokens
    end = int(free[0, 2])
    new = Greedy()(model, prompt, 12, end=end)
    for row, tokens in enumerate(free.tolist()):
        expected = tokens[: tokens.index(end) + 1] if end in tokens else tokens
        assert [t for t, k in zip(new.tokens[row], new.keep[row], strict=True) if k] == expected
    assert (new.tokens[~new.keep] == end).all()
    assert new.texts(end)[0] == [t for t in new.texts()[0] if t != end]


def test_several_ends_and_a_shortest_length() -> None:
    model, prompt = build().eval(), prompts()
    end = int(Greedy()(model, prompt, 12).tokens[0, 2])
    later = Greedy(min_new_tokens=5)(model, prompt, 12, end=end)
    assert later.keep.sum(1).min() >= 6
    assert (later.tokens[:, :5] != end).all()
    twice = Greedy(min_ends=2)(model, prompt, 40, end=end)
    counts = ((twice.tokens == end) & twice.keep).sum(1)
    done = twice.keep.sum(1) < twice.tokens.shape[1]
    assert (counts[done] == 2).all()


def test_goes_on_where_positions_end() -> None:
    model, prompt = build(Learned(8, 16)).eval(), prompts(2, 20)
    tokens = torch.cat((prompt, Greedy()(model, prompt, 3).tokens), 1)
    best = model(prompt[:, -8:])[:, -1].argmax(-1, keepdim=True)
    assert torch.equal(tokens[:, 20:21], best)
    rest = uncached(model, tokens[:, 17:21], 2)
    assert torch.equal(tokens[:, 17:], rest)


def test_a_padded_prompt_too_long_for_the_positions_is_one_line() -> None:
    model, prompt = build(Learned(8, 16)).eval(), prompts(2, 6)
    keep = torch.ones_like(prompt, dtype=torch.bool)
    with pytest.raises(ValueError, match="a text of 9 tokens is longer than the 8 positions"):
        Greedy()(model, prompt, 5, keep=keep)


def test_no_new_tokens() -> None:
    new = Greedy()(build(), prompts(), 0)
    assert new.tokens.shape == new.keep.shape == (3, 0)
    assert new.score.tolist() == [0, 0, 0]


def test_evaluates_and_restores_the_mode() -> None:
    model = build(dropout=0.5)
    modes = []
    model.dropout.register_forward_hook(lambda module, *_: modes.append(module.training))
    first, again = Greedy()(model, prompts(), 2), Greedy()(model, prompts(), 2)
    assert modes == [False] * 4
    assert torch.equal(first.tokens, again.tokens)
    assert model.training


@pytest.mark.parametrize(
    ("mask", "line"),
    [
        (Bidirectional(), "mask=bidirectional cannot decode from a cache: every token sees"),
        (Permutation([0, 2, 1, 3]), "mask=permutation cannot decode from a cache: .*mask=causal"),
        (Permutation([0, 2, 1, 3]) & Causal(), "mask=permutation cannot decode"),
        (Prefix(None), "mask=prefix has no length"),
    ],
)
def test_refuses_masks_that_cannot_decode(mask, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Greedy()(build(mask=mask), prompts(), 2)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"prompt": torch.zeros(1, 0, dtype=torch.long)}, "must hold at least one token"),
        ({"keep": torch.zeros(3, 4, dtype=torch.bool)}, "must hold at least one token"),
        ({"max_new_tokens": -1}, "max_new_tokens must be at least 0, not -1"),
    ],
)
def test_refuses_bad_arguments(arguments: dict, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Greedy()(build(), **({"prompt": prompts(), "max_new_tokens": 1} | arguments))


def test_refuses_bad_settings() -> None:
    with pytest.raises(ValueError, match="min_new_tokens must be at least 0, not -1"):
        Greedy(min_new_tokens=-1)
    with pytest.raises(ValueError, match="min_ends must be at least 1, not 0"):
        Greedy(min_ends=0)


@pytest.mark.parametrize("decoding", [Greedy(), Beam(num_beams=1)])
def test_goes_by_the_probabilities_of_a_normaliser(decoding: Decoding) -> None:
    model, prompt, normalizer = build().eval(), prompts(), Taylor(2)
    new = decoding(model, prompt, 8, normalizer=normalizer)
    with torch.no_grad():
        logits = model(torch.cat((prompt, new.tokens), 1))[:, 3:-1]
    log_p = normalizer.log_prob(logits)
    assert torch.equal(log_p.argmax(-1), new.tokens)
    assert not torch.equal(logits.argmax(-1), new.tokens)
    expected = log_p.gather(2, new.tokens[..., None]).sum((1, 2))
    torch.testing.assert_close(new.score, expected)
    plain = Greedy()(model, prompt, 8)
    assert torch.equal(decoding(model, prompt, 8, normalizer=Softmax()).tokens, plain.tokens)


@pytest.mark.parametrize("normalizer", [Sparse(1), Sparse(3), Taylor(2)])
def test_only_tokens_that_are_allowed_are_normalised(normalizer: Normalizer) -> None:
    model, prompt = build().eval(), prompts()
    with torch.no_grad():
        logits = model(prompt)[:, -1]
    forbidden = sorted({*normalizer.log_weights(logits).argmax(-1).tolist()})
    new = Greedy()(model, prompt, 1, constraints=[Forbid(forbidden)], normalizer=normalizer)
    left = [i for i in range(logits.shape[1]) if i not in forbidden]
    weights = normalizer.log_weights(logits[:, left])
    assert torch.equal(new.tokens[:, 0], torch.tensor(left)[weights.argmax(-1)])
    torch.testing.assert_close(new.score, weights.log_softmax(-1).amax(-1))
