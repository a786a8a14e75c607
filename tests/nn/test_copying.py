"""Copied pieces: tags against the plain algorithm, and what a decoding may copy."""

import doctest
from typing import Any

import pytest
import torch
from torch import Tensor

import suexp.nn.copying
from suexp.decoding import Beam, Greedy
from suexp.mask import Prefix
from suexp.nn.copying import BEGIN, INSIDE, OUTSIDE, Copying, common_tags
from tests.decoding.models import build, prompts


def test_examples() -> None:
    assert doctest.testmod(suexp.nn.copying).failed == 0


def plain(source: list[int], target: list[int]) -> tuple[list[int], list[int]]:
    """One pair, by the textbook's table and a walk back through it."""
    m, n = len(source), len(target)
    table = [[0] * (n + 1) for _ in range(m + 1)]
    for i in range(1, m + 1):
        for j in range(1, n + 1):
            if source[i - 1] == target[j - 1]:
                table[i][j] = table[i - 1][j - 1] + 1
            else:
                table[i][j] = max(table[i - 1][j], table[i][j - 1])
    i, j, pairs = m, n, []
    while i and j:
        if source[i - 1] == target[j - 1]:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif table[i][j - 1] > table[i - 1][j]:
            j -= 1
        else:
            i -= 1
    tags = [OUTSIDE] * m, [OUTSIDE] * n
    for i, j in pairs:
        tags[0][i] = tags[1][j] = INSIDE if (i - 1, j - 1) in pairs else BEGIN
    return tags


@pytest.mark.parametrize("words", [2, 3, 6])
def test_tags_are_those_of_the_plain_algorithm(words: int) -> None:
    draw = torch.Generator().manual_seed(words)
    for m, n in ((1, 1), (7, 5), (5, 9), (12, 3)):
        source = torch.randint(words, (40, m), generator=draw)
        target = torch.randint(words, (40, n), generator=draw)
        found = common_tags(source, target)
        for row in range(40):
            expected = plain(source[row].tolist(), target[row].tolist())
            assert (found[0][row].tolist(), found[1][row].tolist()) == expected


def test_padding_matches_nothing() -> None:
    source, target = torch.tensor([[-1, 3, 4, -1, -1]]), torch.tensor([[-1, 3, 4, -1]])
    of_source, of_target = common_tags(source, target)
    assert of_source.tolist() == [[0, 1, 2, 0, 0]]
    assert of_target.tolist() == [[0, 1, 2, 0]]


class Tags:
    """Always the same tags, or those that a function of the step gives."""

    def __init__(self, *order: int) -> None:
        self.order, self.step = order, 0

    def __call__(self, hidden: Tensor) -> Tensor:
        tag = self.order[min(self.step, len(self.order) - 1)]
        self.step += 1
        scores = torch.zeros(len(hidden), 3)
        scores[:, tag] = 1
        return scores


def network() -> tuple[Any, Tensor, dict[str, Any]]:
    model, prompt = build(mask=Prefix(), init_gain=1.0).eval(), prompts(4)
    return model, prompt, {"prefix_length": torch.full((4,), prompt.shape[1])}


def pieces(text: list[int], length: int) -> set[tuple[int, ...]]:
    return {tuple(text[i : i + length]) for i in range(len(text) - length + 1)}


@pytest.mark.parametrize("decoding", [Greedy(), Beam(3)])
def test_outside_changes_nothing(decoding: Any) -> None:
    model, prompt, facts = network()
    free = decoding(model, prompt, 6, **facts)
    bound = decoding(model, prompt, 6, constraints=[Copying(Tags(OUTSIDE), prompt)], **facts)
    assert torch.equal(free.tokens, bound.tokens)


@pytest.mark.parametrize("decoding", [Greedy(), Beam(3)])
@pytest.mark.parametrize("length", [2, 3, 4])
def test_a_piece_is_so_many_neighbours_of_the_source(decoding: Any, length: int) -> None:
    model, prompt, facts = network()
    tags = Tags(BEGIN, *[INSIDE] * (length - 1))
    new = decoding(model, prompt, length, constraints=[Copying(tags, prompt)], **facts)
    for row, text in enumerate(new.texts()):
        source = prompt[row].tolist()
        # From a piece that ends with the source another begins: each is one of the source.
        cuts = [i for i in range(1, length) if tuple(text[i - 1 : i + 1]) not in pieces(source, 2)]
        for a, b in zip([0, *cuts], [*cuts, length], strict=True):
            assert tuple(text[a:b]) in pieces(source, b - a)
            assert b == length or source[-1] in text[a:b]
    free = decoding(model, prompt, length, **facts)
    assert not torch.equal(free.tokens, new.tokens)


def test_a_piece_that_has_not_begun_does_not_go_on() -> None:
    model, prompt, facts = network()
    # Without a piece the second best tag decides: of equal ones the first, which is OUTSIDE.
    free = Greedy()(model, prompt, 3, **facts)
    new = Greedy()(model, prompt, 3, constraints=[Copying(Tags(INSIDE), prompt)], **facts)
    assert torch.equal(free.tokens, new.tokens)


def test_a_source_without_a_token_binds_nothing() -> None:
    model, prompt, facts = network()
    nothing = torch.full_like(prompt, -1)
    free = Greedy()(model, prompt, 3, **facts)
    new = Greedy()(model, prompt, 3, constraints=[Copying(Tags(BEGIN), nothing)], **facts)
    assert torch.equal(free.tokens, new.tokens)


def test_the_state_belongs_to_the_hypothesis() -> None:
    """Two hypotheses change places: each goes on with its own piece."""
    source = torch.tensor([[1, 2, 3, 4]])
    copying = Copying(Tags(BEGIN, INSIDE), source)
    logits, hidden = torch.zeros(2, 6), torch.zeros(2, 5)
    _, state = copying(logits.clone(), torch.zeros(2, 0, dtype=torch.long), None, hidden)
    tokens = torch.tensor([[1], [3]])
    first, state_now = copying(logits.clone(), tokens, state, hidden)
    assert [row.isfinite().nonzero().flatten().tolist() for row in first] == [[2], [4]]
    swapped = torch.tensor([1, 0])
    tokens = torch.tensor([[3, 4], [1, 2]])
    again, _ = copying(logits.clone(), tokens, state_now[swapped], hidden)
    # Behind the source's last token another piece begins; the other one goes on.
    assert again[0].isfinite().nonzero().flatten().tolist() == [1, 2, 3, 4]
    assert again[1].isfinite().nonzero().flatten().tolist() == [3]
