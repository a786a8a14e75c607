import itertools
import math

import pytest
import torch
from torch import Tensor

from suexp.decoding import Beam, Greedy
from suexp.decoding.base import Constraint
from suexp.mask import Prefix
from tests.decoding.models import build, prompts

END = 0


def author(model, prompt: Tensor, num_beams: int, longest: int, min_ends: int = 1) -> tuple:
    """bert4keras' AutoRegressiveDecoder.beam_search, one text, without a cache."""
    tokens, scores, topk = prompt.new_zeros(1, 0), torch.zeros(1), num_beams
    for _ in range(longest):
        text = torch.cat((prompt.expand(len(tokens), -1), tokens), 1)
        with torch.no_grad():
            logp = model(text)[:, -1].log_softmax(-1)
        total = scores[:, None] + logp
        scores, indices = total.flatten().topk(topk)
        rows, new = indices // logp.shape[1], indices % logp.shape[1]
        tokens = torch.cat((tokens[rows], new[:, None]), 1)
        is_end, end_counts = tokens[:, -1] == END, (tokens == END).sum(1)
        best = scores.argmax()
        if is_end[best] and end_counts[best] >= min_ends:
            return tokens[best].tolist(), float(scores[best])
        flag = ~is_end | (end_counts < min_ends)
        tokens, scores, topk = tokens[flag], scores[flag], int(flag.sum())
    return tokens[scores.argmax()].tolist(), float(scores.max())


@pytest.mark.parametrize("num_beams", [1, 2, 3, 5])
@pytest.mark.parametrize("min_ends", [1, 2])
def test_equals_the_authors_rule(num_beams: int, min_ends: int) -> None:
    model, prompt = build(init_gain=1.0).eval(), prompts(6)
    new = Beam(num_beams, min_ends=min_ends)(model, prompt, 9, end=END)
    for row in range(6):
        tokens, score = author(model, prompt[row : row + 1], num_beams, 9, min_ends)
        assert new.texts()[row] == tokens
        assert float(new.score[row]) == pytest.approx(score, abs=1e-4)


def every(model, prompt: Tensor, longest: int) -> dict[tuple[int, ...], float]:
    """Score every text that ends with END, or is cut at the longest."""
    size = model.embedding.num_embeddings
    found = {}
    for length in range(1, longest + 1):
        for text in itertools.product(range(size), repeat=length):
            if END in text[:-1] or (text[-1] != END and length < longest):
                continue
            whole = torch.cat((prompt, torch.tensor([text])), 1)
            with torch.no_grad():
                logp = model(whole[:, :-1]).log_softmax(-1)[0, prompt.shape[1] - 1 :]
            found[text] = float(logp.gather(1, torch.tensor(text)[:, None]).sum())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all(length_penalty: float) -> None:
    model, prompt = build(vocab_size=4, init_gain=0.7).eval(), prompts(3, 4, 4)
    beam = Beam(4**4, length_penalty=length_penalty, drop_ended=False)
    new = beam(model, prompt, 4, end=END)
    for row in range(3):
        scores = every(model, prompt[row : row + 1], 4)
        best = max(scores, key=lambda text: scores[text] / len(text) ** length_penalty)
        assert new.texts()[row] == list(best)
        assert float(new.score[row]) == pytest.approx(scores[best], abs=1e-4)


@pytest.mark.parametrize("drop_ended", [True, False])
def test_one_beam_is_greedy(drop_ended: bool) -> None:
    model, prompt = build().eval(), prompts(5)
    beam = Beam(1, drop_ended=drop_ended)(model, prompt, 8, end=END)
    greedy = Greedy()(model, prompt, 8, end=END)
    if drop_ended:
        assert beam.texts() == greedy.texts()
        torch.testing.assert_close(beam.score, greedy.score)
    else:  # an ended text waits for the second best to fall below it
        assert (beam.score >= greedy.score - 1e-5).all()


def test_a_wider_beam_is_no_worse_here() -> None:
    model, prompt = build(init_gain=1.0).eval(), prompts(8)
    scores = [Beam(k)(model, prompt, 6).score for k in (1, 4)]
    assert (scores[1] >= scores[0] - 1e-5).all()
    assert (scores[1] > scores[0] + 1e-3).any()


def test_padded_prompts_and_prefixes() -> None:
    model, prompt = build(mask=Prefix(None), init_gain=1.0).eval(), prompts(2, 5)
    lengths = torch.tensor([5, 3])
    keep = torch.arange(5) < lengths[:, None]
    new = Beam(3)(model, prompt, 6, end=END, keep=keep, prefix_length=lengths)
    for row, length in enumerate(lengths.tolist()):
        facts = {"prefix_length": lengths[row : row + 1]}
        one = Beam(3)(model, prompt[row : row + 1, :length], 6, end=END, **facts)
        assert one.texts()[0] == new.texts()[row]


def test_min_new_tokens() -> None:
    model, prompt = build(init_gain=1.0).eval(), prompts(4)
    new = Beam(3, min_new_tokens=4)(model, prompt, 8, end=END)
    assert (new.keep.sum(1) >= 5).all()
    assert (new.tokens[:, :4] != END).all()


class Path(Constraint):
    """Allows a token once; its state, the tokens used, belongs to the hypothesis."""

    def __call__(self, logits: Tensor, tokens: Tensor, state, hidden):
        used = torch.zeros_like(logits, dtype=torch.bool) if state is None else state
        if tokens.shape[1]:
            used = used.scatter(1, tokens[:, -1:], True)
        expected = torch.zeros_like(used).scatter(1, tokens, True) if tokens.shape[1] else used
        assert torch.equal(used, expected)  # the state has moved with its hypothesis
        return logits.masked_fill(used, -math.inf), used


def test_states_of_constraints_move_with_the_hypotheses() -> None:
    model, prompt = build(init_gain=1.0).eval(), prompts(4)
    plain = Beam(3)(model, prompt, 8)
    new = Beam(3)(model, prompt, 8, constraints=[Path()])
    assert all(len(set(text)) == 8 for text in new.texts())
    assert any(len(set(text)) < 8 for text in plain.texts())
    with pytest.raises(ValueError, match="the constraints allow no token at step 12"):
        Greedy()(model, prompt, 12, constraints=[Path()])


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"num_beams": 0}, "num_beams must be at least 1, not 0"),
        ({"length_penalty": -1.0}, "length_penalty must be at least 0, not -1"),
        ({"length_penalty": 1.0}, "set drop_ended=false"),
    ],
)
def test_refuses_bad_settings(settings: dict, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Beam(**settings)
