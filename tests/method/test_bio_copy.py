"""BIO-Copy: what is asked where, the loss, what is written, and what is refused."""

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from suexp.config.compose import resolve
from suexp.decoding import Beam, Greedy
from suexp.errors import UserError
from suexp.method.bio_copy import IGNORE, BIOCopy
from suexp.method.random_replacement import RandomReplacement
from suexp.nn.copying import BEGIN, INSIDE, OUTSIDE
from tests.method.texts import gradient
from tests.task.test_seq2seq import batch_of, task_of

PREFIX = "mask=prefix"


def with_copy(**settings: Any) -> tuple[Any, BIOCopy]:
    task, method = task_of(PREFIX), BIOCopy(**settings)
    task.wrap([method])
    return task, method


def rows(task: Any, *pairs: tuple[str, str]) -> dict[str, Tensor]:
    """Return the batch of these sources and targets."""
    end = task.data.tokenizer_.eot_id
    made = [[*x.encode(), end, *y.encode(), end] for x, y in pairs]
    width, pad = max(map(len, made)), task.data.tokenizer_.pad_id
    keep = torch.tensor([[i < len(row) for i in range(width)] for row in made])
    prefix = torch.tensor([len(x.encode()) + 1 for x, _ in pairs])
    return {
        "tokens": torch.tensor([row + [pad] * (width - len(row)) for row in made]),
        "keep": keep,
        "segments": (keep & (torch.arange(width) >= prefix[:, None])).long(),
        "prefix_length": prefix,
    }


def test_what_is_asked_where() -> None:
    task, method = with_copy()
    asked = method.answers(task, rows(task, ("abcde", "xbcye"), ("q", "q"))).tolist()
    # a b c d e, e: x | x: b | b: c | c: y | y: e | e: the end | nothing
    source = [OUTSIDE, BEGIN, INSIDE, OUTSIDE, BEGIN]
    target = [OUTSIDE, BEGIN, INSIDE, OUTSIDE, BEGIN, OUTSIDE]
    assert asked[0] == [*source, *target, IGNORE]
    assert asked[1] == [BEGIN, BEGIN, OUTSIDE, *[IGNORE] * 9]


def test_the_loss_by_hand() -> None:
    task, method = with_copy(weight=3)
    batch = rows(task, ("abcde", "xbcye"), ("some words", "words"))
    inputs, _ = task.questions(batch)
    hidden = task.model.hidden(
        inputs,
        batch["keep"][:, :-1],
        batch["segments"][:, :-1],
        prefix_length=batch["prefix_length"],
    )
    tags = method.answers(task, batch)[:, :-1]
    scores = hidden @ method.tags.weight.T + method.tags.bias
    counts = tags != IGNORE
    expected = task.objective(batch) + 3 * F.cross_entropy(scores[counts], tags[counts])
    found = method.objective(task, batch, task.objective)
    torch.testing.assert_close(found, expected)
    found.backward()
    assert method.tags.weight.grad is not None
    assert method.tags.weight.grad.abs().sum() > 0


def test_weight_0_trains_as_without() -> None:
    plain, (task, _) = task_of(PREFIX), with_copy(weight=0)
    batch = batch_of(plain)
    one, other = gradient(plain, batch), gradient(task, batch)
    torch.testing.assert_close(one[0], other[0])
    torch.testing.assert_close(one[1], other[1][: len(one[1])])


def test_the_tags_are_those_of_the_source_that_is_read() -> None:
    task, method = with_copy()
    task.wrap([method, RandomReplacement(p_sample=1.0, p_token=1.0)])
    assert next(iter(task.methods)) is method  # the errors come from outside
    batch = rows(task, ("abcde", "xbcye"))
    noised = batch["tokens"].clone()
    noised[0, 1] = ord("z")  # b of the source
    asked = method.answers(task, {**batch, "inputs": noised})[0].tolist()
    assert asked[:5] == [OUTSIDE, OUTSIDE, BEGIN, OUTSIDE, BEGIN]
    assert asked[5:11] == [OUTSIDE, OUTSIDE, BEGIN, OUTSIDE, BEGIN, OUTSIDE]


@pytest.mark.parametrize("decoding", [Greedy(), Beam(3)])
def test_what_is_written_follows_the_tags(decoding: Any) -> None:
    task, method = with_copy()
    task.decoding, task.max_target = decoding, 3
    batch = rows(task, ("abcdefgh", "x"), ("ijklm", "y"), ("n", "z"))
    free = task_of(PREFIX)
    free.decoding, free.max_target = decoding, 3
    with torch.no_grad():
        method.tags.weight.zero_()
        method.tags.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
        assert task.write(batch) == free.write(batch)  # all outside
        method.tags.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))  # a piece that goes on if it can
        written = task.write(batch)
        method.decode = False
        assert task.write(batch) == free.write(batch)
    for text, source in zip(written, ("abcdefgh", "ijklm", "n"), strict=True):
        copied = bytes(text).decode()
        assert len(copied) == 3
        assert {*copied} <= {*source}
        for one, other in itertools.pairwise(copied):
            assert one + other in source or one == source[-1]


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="weight must be at least 0"):
        BIOCopy(weight=-1)
    with pytest.raises(UserError, match="method=bio_copy needs prefix length"):
        resolve(["method=bio_copy"])
    with pytest.raises(UserError, match="method=bio_copy needs model=transformer"):
        resolve(["method=bio_copy", "task=seq2seq", "mask=causal", "model=encoder_decoder"])
