"""Random replacement: what is replaced, by what, how often, and what never changes."""

import doctest
from typing import Any

import pytest
import torch
from torch import Tensor

import suexp.method.random_replacement
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.method.fgm import FGM
from suexp.method.random_replacement import RandomReplacement
from suexp.nn.replacement import generator_of, replaced
from tests.method.texts import gradient
from tests.task.test_seq2seq import SIZES, SMALL, batch_of, task_of

MODELS = pytest.mark.parametrize(
    "more", [["mask=prefix"], ["mask=causal"], ["model=encoder_decoder", "mask=causal"]]
)


def read(task: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the batch that the task's objective is given."""
    seen: list[dict[str, Tensor]] = []
    (method,) = task.methods

    def inner(given: dict[str, Tensor]) -> Tensor:
        seen.append(given)
        return torch.zeros((), requires_grad=True)

    method.objective(task, batch, inner)
    return seen[0]


@MODELS
@pytest.mark.parametrize("off", ["p_sample", "p_token"])
def test_no_errors_is_plain_training_bit_for_bit(more: list[str], off: str) -> None:
    plain, task = task_of(*more), task_of(*more)
    batch = batch_of(plain)
    task.wrap([RandomReplacement(**{off: 0.0})])  # type: ignore[arg-type]
    one, other = gradient(plain, batch), gradient(task, batch)
    assert torch.equal(one[0], other[0])
    assert all(map(torch.equal, one[1], other[1]))


@MODELS
def test_the_model_reads_errors_and_is_asked_for_the_truth(more: list[str]) -> None:
    task = task_of(*more)
    batch = batch_of(task)
    task.wrap([RandomReplacement(p_sample=1.0, p_token=1.0)])
    inputs, target = task.questions(read(task, batch))
    plain, wanted = task.questions(batch)
    assert torch.equal(target, wanted)
    source = batch["segments"][:, :-1] == 0
    assert torch.equal(inputs[source], plain[source])
    assert (inputs != plain).any()
    by_hand = task.model(
        inputs,
        batch["keep"][:, :-1],
        batch["segments"][:, :-1],
        at=target != -100,
        prefix_length=batch["prefix_length"],
    )
    expected = torch.nn.functional.cross_entropy(by_hand, target[target != -100])
    torch.testing.assert_close(task.training_step(batch, 0), expected)


def wide(rows: int = 4000, n: int = 40) -> dict[str, Tensor]:
    """Rows whose target is 12 to 25 tokens, each row with tokens of its own."""
    prefix = 10 + torch.arange(rows) % 5
    length = 26 + torch.arange(rows) % 11
    place = torch.arange(n)
    keep = place < length[:, None]
    target = keep & (place >= prefix[:, None])
    tokens = (torch.arange(rows)[:, None] * n + place).where(keep, torch.tensor(-1))
    return {
        "tokens": tokens,
        "keep": keep,
        "segments": target.long(),
        "prefix_length": prefix,
    }


def test_shares_and_pools() -> None:
    task, batch = task_of(), wide()
    target, tokens = batch["segments"] == 1, batch["tokens"]
    for pool in ("target", "sequence"):
        found = replaced(task, batch, pool, 0.5, 0.3, generator_of(1))  # type: ignore[arg-type]
        assert torch.equal(found[~target], tokens[~target])
        changed = (found != tokens) & target
        size = (target if pool == "target" else batch["keep"]).sum(1)
        # A draw may be the very token.
        expected = (0.15 * target.sum(1) * (1 - 1 / size)).sum() / target.sum()
        count = int(target.sum())
        assert count > 60_000
        error = (0.15 * 0.85 / count) ** 0.5
        # Whole rows have errors or not: their share varies more than that of tokens.
        assert float(changed.sum() / count) == pytest.approx(float(expected), abs=8 * error)
        assert float(changed.any(1).double().mean()) == pytest.approx(0.5, abs=0.03)
        row, place = found // 40, found % 40
        mine = torch.arange(len(tokens))[:, None].expand_as(tokens)
        assert torch.equal(row[changed], mine[changed])  # of the row's own tokens
        allowed = target if pool == "target" else batch["keep"]
        assert bool(allowed[row[changed], place[changed]].all())
        if pool == "target":  # chi-square of the draws' places within a target of 16
            same = changed & (target.sum(1) == 16)[:, None]
            offset = (place - batch["prefix_length"][:, None])[same]
            counts = torch.bincount(offset, minlength=16).double()
            statistic = ((counts - counts.mean()).square() / counts.mean()).sum()
            assert statistic < 37.7  # 15 degrees of freedom, p = 0.001


def test_the_whole_vocabulary_and_the_specials() -> None:
    task = task_of()
    batch = batch_of(task)
    many = {name: value.repeat(200, *[1] * (value.dim() - 1)) for name, value in batch.items()}
    target = many["segments"] == 1
    found = replaced(task, many, "vocab", 1.0, 1.0, generator_of(2))
    assert found[target].unique().numel() == task.data.sizes["vocab_size"]
    tokenizer = task.data.tokenizer_
    special = torch.tensor([tokenizer.pad_id, tokenizer.eot_id, tokenizer.mask_id])
    for pool in ("target", "sequence"):
        kept = replaced(task, many, pool, 1.0, 1.0, generator_of(2), keep_special=True)  # type: ignore[arg-type]
        closing = torch.isin(many["tokens"], special)
        assert torch.equal(kept[closing], many["tokens"][closing])
        assert not torch.isin(kept[target & ~closing], special).any()


@pytest.mark.slow
def test_the_models_own_errors_are_draws_from_its_predictions() -> None:
    task = task_of()
    with torch.no_grad():
        for part in task.model.parameters():
            part.mul_(3)  # predictions with some opinion
    batch = batch_of(task, 2)
    logits, _ = task.predict(batch, "target")
    p = logits.detach().softmax(-1)
    target = batch["segments"] == 1
    counts = torch.zeros_like(p)
    draws = 400
    for seed in range(draws):
        found = replaced(task, batch, "model", 1.0, 1.0, generator_of(seed))
        assert torch.equal(found[~target], batch["tokens"][~target])
        counts.scatter_add_(1, found[target][:, None], torch.ones(len(p), 1))
    assert (counts / draws - p).abs().max() < 0.12
    assert task.training
    assert all(p.grad is None for p in task.model.parameters())


def test_draws_depend_on_seed_step_and_rows_alone() -> None:
    task = task_of()
    batch = batch_of(task)
    task.wrap([RandomReplacement(p_sample=1.0, p_token=0.5, seed=3)])

    def drawn(step: int = 7, first: int = 0) -> Tensor:
        task._rehearsed, task.first_row = step, first
        return read(task, batch)["inputs"]

    torch.manual_seed(1)
    one = drawn()
    state = torch.get_rng_state()
    assert torch.equal(drawn(), one)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(drawn(step=8), one)
    assert not torch.equal(drawn(first=6), one)


def test_passes_of_a_step_read_the_same_errors() -> None:
    task = task_of()
    batch = batch_of(task)
    task.wrap([FGM(), RandomReplacement(p_sample=1.0, p_token=0.5)])
    seen: list[Tensor] = []
    task.model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    gradient(task, batch)
    assert len(seen) == 2
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], batch["tokens"][:, :-1])


def test_the_share_may_grow() -> None:
    config = resolve(
        [
            *SMALL,
            *SIZES,
            "method=random_replacement",
            "method.random_replacement.p_token={start: 0, end: 0.3, steps: 10}",
        ]
    ).config
    node = config["method"]["random_replacement"]
    assert node["p_token"] == {"start": 0, "end": 0.3, "steps": 10}
    method = RandomReplacement(p_token=node["p_token"], p_sample=1.0)
    task = task_of()
    batch = batch_of(task)
    task.wrap([method])
    task._rehearsed = 0
    assert "inputs" not in read(task, batch)
    task._rehearsed = 10
    assert "inputs" in read(task, batch)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"p_token must be in \[0, 1\], not 1.5"):
        RandomReplacement(p_token=1.5)
    with pytest.raises(ValueError, match="p_sample needs steps"):
        RandomReplacement(p_sample={"start": 0, "end": 1})
    with pytest.raises(UserError, match="use task=seq2seq"):
        resolve(["method=random_replacement"])
    with pytest.raises(UserError, match=r"p_token: 'x' is not a number or a mapping"):
        resolve([*SMALL, "method=random_replacement", "method.random_replacement.p_token=x"])


def test_its_example() -> None:
    assert doctest.testmod(suexp.method.random_replacement).failed == 0
