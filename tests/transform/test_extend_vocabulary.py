"""More words: each begins as the mean of its pieces, and what was there stays."""

import functools
from typing import Any

import pytest
import torch

from suexp.config.compose import resolve
from suexp.job.build import build, data_of
from suexp.transform.extend_vocabulary import ExtendVocabulary, pieces_of

SMALL = (
    *("task=seq2seq", "model.dim=16", "model.num_layers=1", "model.num_heads=2", "threads=1"),
    *("model.head=mlm", "data.block_size=160", "data.max_bytes=200000"),
)


@pytest.fixture(params=["tied", "untied"])
def kind(request: pytest.FixtureRequest) -> str:
    return f"model.tie_embeddings={str(request.param == 'tied').lower()}"


@functools.cache
def composed(*overrides: str) -> Any:
    config = resolve([*SMALL, *overrides]).config
    return config, data_of(config)


def task_of(words: int, *overrides: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    task: Any = build(*composed(f"data.vocab_size={words}", *overrides))
    with torch.no_grad():  # as if it had learned
        for p in task.model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return task.eval()


def test_new_rows_are_means_and_kept_logits_stay(kind: str) -> None:
    parent, child = task_of(300, kind), task_of(400, kind, seed=1)
    found = ExtendVocabulary().start(child, parent)
    ours, theirs = child.data.tokenizer_, parent.data.tokenizer_
    pieces = pieces_of(ours, theirs)
    tables = {"embedding.weight", "output.weight", "head.bias"}
    old, new = parent.model.state_dict(), child.model.state_dict()
    assert tables & {*new} == tables - ({"output.weight"} if "true" in kind else set())
    for name in tables & {*new}:
        for token, some in enumerate(pieces):
            torch.testing.assert_close(new[name][token], old[name][some].mean(0))
    for token in ours.ordinary:
        assert b"".join(theirs.token_bytes[p] for p in pieces[token]) == ours.token_bytes[token]
    assert found == {"vocabulary/new": 100.0, "vocabulary/pieces": pytest.approx(2.3, abs=0.7)}

    # The child's number of each token of the parent's; all of them are kept.
    number = {some[0]: token for token, some in enumerate(pieces) if len(some) == 1}
    assert sorted(number) == [*range(300)]
    place = torch.tensor([number[token] for token in range(300)])
    tokens, prefix = torch.randint(290, (3, 12)), torch.tensor([4, 5, 6])
    with torch.no_grad():
        before = parent.model(tokens, prefix_length=prefix)
        after = child.model(place[tokens], prefix_length=prefix)
    torch.testing.assert_close(after[..., place], before, rtol=0, atol=1e-6)


def test_a_part_of_a_character_is_the_mean_of_its_bytes() -> None:
    parent, child = (composed(f"data.vocab_size={n}")[1].tokenizer_ for n in (300, 400))
    name = "é".encode()[:1]
    token = child.token_bytes.index(name)
    assert parent.token_bytes[pieces_of(child, parent)[token][0]] == name


def test_what_does_not_fit() -> None:
    small, large = task_of(300), task_of(400)
    with pytest.raises(ValueError, match="starts from another run's weights"):
        ExtendVocabulary().start(large, None)
    with pytest.raises(ValueError, match="all but the vocabulary must be equal"):
        ExtendVocabulary().start(large, task_of(300, "model.num_layers=2"))
    ours = large.data.tokenizer_
    ours._bytes[5] = ours._bytes[6]
    try:
        with pytest.raises(ValueError, match="several tokens have one text"):
            ExtendVocabulary().start(large, small)
    finally:
        composed.cache_clear()
