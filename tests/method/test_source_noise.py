"""Noise on sources: whole words, how many of them, and what never changes."""

import doctest
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import suexp.method.source_noise
from suexp.config.compose import resolve
from suexp.data.tokenizer import ByteTokenizer
from suexp.data.wordpiece import WordPieceTokenizer
from suexp.errors import UserError
from suexp.method.random_replacement import RandomReplacement
from suexp.method.source_noise import SourceNoise
from suexp.nn.replacement import generator_of
from suexp.nn.word_noise import noised, word_starts
from tests.method.test_random_replacement import read
from tests.method.texts import gradient
from tests.task.test_similar_sentence import batch_of, task_of


def words(tokenizer: Any, tokens: list[int]) -> list[str]:
    """Return the words as the noise sees them."""
    starts = word_starts(tokenizer, torch.tensor([tokens]))[0].tolist()
    found: list[list[int]] = []
    for token, start in zip(tokens, starts, strict=True):
        found = [*found, [token]] if start else [*found[:-1], [*found[-1], token]]
    return [tokenizer.decode(word) for word in found]


def test_words_of_bytes_are_letters_and_digits_and_whole_characters() -> None:
    tokenizer = ByteTokenizer()
    text = "It's a_1 你好—x2."
    expected = ["It", "'", "s", " ", "a_1", " ", "你", "好", "—", "x2", "."]
    assert words(tokenizer, tokenizer.encode(text)) == expected


def test_words_of_pieces_and_of_pairs(tmp_path: Path) -> None:
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "read", "##ing", "it", "."]
    (tmp_path / "vocab.txt").write_text("\n".join(vocab))
    WordPieceTokenizer.build(str(tmp_path / "vocab.txt"), tmp_path / "tokenizer.json")
    tokenizer = WordPieceTokenizer(tmp_path / "tokenizer.json")
    assert words(tokenizer, tokenizer.encode("reading it.")) == ["reading", "it", "."]
    tokenizer.reserve(2, False)
    assert word_starts(tokenizer, torch.tensor([[*tokenizer.reserved]])).all()
    task = task_of("data.tokenizer=bpe", "data.vocab_size=600")
    bpe = task.data.tokenizer_
    found = words(bpe, bpe.encode("Return the name, unchanged."))
    assert [word.strip() for word in found] == ["Return", "the", "name", ",", "unchanged", "."]


@pytest.mark.parametrize("off", ["p_sample", "p_word"])
def test_no_noise_is_plain_training_bit_for_bit(off: str) -> None:
    plain, task = task_of(), task_of()
    batch = batch_of(plain)
    task.wrap([SourceNoise(**{off: 0.0})])  # type: ignore[arg-type]
    one, other = gradient(plain, batch), gradient(task, batch)
    assert torch.equal(one[0], other[0])
    assert all(map(torch.equal, one[1], other[1]))


def test_only_words_of_the_source_change_and_whole() -> None:
    task = task_of()
    batch, tokenizer = batch_of(task, 20), task.data.tokenizer_
    task.wrap([SourceNoise(p_sample=1.0, p_word=0.5, mask=1.0, random=0.0)])
    inputs = read(task, batch)["inputs"]
    changed = inputs != batch["tokens"]
    source = batch["keep"] & (batch["segments"] == 0)
    assert not changed[~source].any()
    assert not changed[torch.isin(batch["tokens"], torch.tensor([*tokenizer.special]))].any()
    assert (inputs[changed] == tokenizer.mask_id).all()
    for row in range(len(inputs)):
        starts = word_starts(tokenizer, batch["tokens"])[row]
        numbers = starts.cumsum(0)
        hidden = {int(n) for n in numbers[changed[row]]}
        assert all(changed[row][numbers == number].all() for number in hidden)
    assert torch.equal(task.questions(read(task, batch))[1], task.questions(batch)[1])


def test_shares_are_those_of_bert() -> None:
    """12 % hidden, 1.5 % random, the rest as it was; half of the rows."""
    task = task_of()
    batch = batch_of(task, 100)
    tokenizer = task.data.tokenizer_
    special = torch.tensor([*tokenizer.special])
    counts: Counter[str] = Counter()
    starts = word_starts(tokenizer, batch["tokens"])
    source = batch["keep"] & (batch["segments"] == 0) & ~torch.isin(batch["tokens"], special)
    for seed in range(12):
        inputs = noised(task, batch, 0.5, 0.15, generator_of(seed))
        hidden = inputs == tokenizer.mask_id
        counts["rows"] += int((inputs != batch["tokens"]).any(1).sum())
        counts["words"] += int((starts & source).sum())
        counts["hidden"] += int((hidden & starts).sum())
        counts["other"] += int(((inputs != batch["tokens"]) & ~hidden & starts).sum())
    assert counts["hidden"] / counts["words"] == pytest.approx(0.5 * 0.12, rel=0.08)
    assert counts["other"] / counts["words"] == pytest.approx(0.5 * 0.015, rel=0.25)
    assert 0.4 < counts["rows"] / (12 * 200) < 0.5


def test_draws_depend_on_seed_and_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of()
    batch = batch_of(task)

    def drawn(seed: int, step: int) -> Tensor:
        monkeypatch.setattr(type(task), "global_step", step)
        task.wrap([SourceNoise(p_sample=1.0, p_word=0.5, seed=seed)])
        return read(task, batch)["inputs"]

    one = drawn(0, 3)
    torch.manual_seed(9)
    assert torch.equal(drawn(0, 3), one)
    assert not torch.equal(drawn(0, 4), one)
    assert not torch.equal(drawn(1, 3), one)


def test_noise_on_sources_and_errors_in_targets_add_up() -> None:
    task = task_of()
    batch = batch_of(task)
    task.wrap([SourceNoise(1.0, 0.5), RandomReplacement(1.0, 1.0)])
    seen: list[dict[str, Tensor]] = []
    inner = task.objective

    def objective(given: dict[str, Tensor]) -> Tensor:
        seen.append(given)
        return inner(given)

    task.objective = objective
    task.wrapped_objective()(batch).backward()
    changed = seen[0]["inputs"] != batch["tokens"]
    assert changed[batch["segments"] == 0].any()
    assert changed[batch["segments"] == 1].any()


def test_mistakes_and_the_example() -> None:
    with pytest.raises(ValueError, match=r"mask 0\.8 and random 0\.3 are more than 1"):
        SourceNoise(random=0.3)
    with pytest.raises(ValueError, match="p_word"):
        SourceNoise(p_word=1.5)
    with pytest.raises(UserError, match="needs prefix length: it needs to know which tokens are"):
        resolve(["method=source_noise"])
    assert doctest.testmod(suexp.method.source_noise).failed == 0
