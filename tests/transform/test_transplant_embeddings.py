"""A model for other words: by rank, by name, at random."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from suexp.config.compose import resolve
from suexp.data.frequencies import frequencies, ranked
from suexp.job.build import build, data_of
from suexp.task._fill_in import IGNORE
from suexp.transform import TransplantEmbeddings
from tests.support.batches import evaluated

SMALL = (
    *("task=pair_mlm", "data.num_train=300", "data.num_validation=60", "data.vocab_size=300"),
    *("model.dim=16", "model.num_layers=1", "model.num_heads=2", "model.head=mlm", "threads=1"),
)
SECRET = ("alter=anonymize", "alter.anonymize.min_count=1")


@pytest.fixture(params=["tied", "untied"])
def kind(request: pytest.FixtureRequest) -> list[str]:
    return [f"model.tie_embeddings={str(request.param == 'tied').lower()}"]


@functools.cache
def composed(*overrides: str) -> Any:
    config = resolve([*SMALL, *overrides]).config
    return config, data_of(config)


def task_of(*overrides: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    task: Any = build(*composed(*overrides))
    with torch.no_grad():  # as if it had learned
        for p in task.model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return task.eval()


def logits(task: Any, batch: Any) -> torch.Tensor:
    with torch.no_grad():
        tokens, keep = task.joined(batch)
        found: torch.Tensor = task.model(tokens, keep=keep)
    return found


def loss(task: Any) -> float:
    with torch.no_grad():
        batch = next(evaluated(task, task.data.splits()["validation"], 60))
        asked = task.asks_of(batch, rows=batch["index"])
        # Other words in a place are drawn by number: these would differ.
        swapped = (asked["target"] != IGNORE) & (asked["tokens"] != task.mask_id)
        tokens, _ = task.joined(batch)
        asked["tokens"] = asked["tokens"].where(~swapped, tokens[:, : swapped.shape[1]])
        return float(task.objective(asked))


def test_the_same_words_give_the_same_logits(kind: list[str]) -> None:
    parent, child = task_of(*kind), task_of(*kind, seed=1)
    batch = next(evaluated(parent, parent.data.splits()["train"], 20))
    assert not torch.allclose(logits(parent, batch), logits(child, batch), atol=1e-2)
    found = TransplantEmbeddings().start(child, parent)
    assert found == {"transplant/copied": 1.0}
    torch.testing.assert_close(logits(child, batch), logits(parent, batch), rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_oracle_has_the_parents_loss(kind: list[str], seed: int) -> None:
    parent = task_of(*kind)
    child = task_of(*kind, *SECRET, f"alter.anonymize.seed={seed}", seed=1)
    before = loss(child)
    TransplantEmbeddings("oracle").start(child, parent)
    assert loss(child) == pytest.approx(loss(parent), abs=1e-5)
    assert abs(before - loss(parent)) > 1e-2


def test_by_rank_row_by_row(kind: list[str]) -> None:
    """The r-th most frequent word here has all that the r-th most frequent one there had."""
    parent = task_of("data.part=plain", "data.vocab_size=200", *kind)
    child = task_of("data.part=secret", *SECRET, *kind, seed=1)
    ours, theirs = (x.data.tokenizer_ for x in (child, parent))
    here, there = (ranked(frequencies(x.data), x.data.tokenizer_.ordinary) for x in (child, parent))
    assert len(here) > len(there)
    count = len(there)
    found = TransplantEmbeddings().start(child, parent)
    assert found == {"transplant/copied": pytest.approx(count / len(here))}
    tables = ["embedding.weight", "head.bias"]
    tables += ["output.weight"] if "model.tie_embeddings=false" in kind else []
    new, old = child.model.state_dict(), parent.model.state_dict()
    for name in tables:
        assert torch.equal(new[name][here[:count]], old[name][there])
        for special in ("pad_id", "eot_id", "mask_id", "unknown_id"):
            assert torch.equal(
                new[name][getattr(ours, special)], old[name][getattr(theirs, special)]
            )
        for special in ("begin", "reserved"):
            at = [list(getattr(x, special)) for x in (ours, theirs)]
            assert torch.equal(new[name][at[0]], old[name][at[1]])
    words = child.data.tokenizer_.opened()
    for row in child.tables["ranks"][:50]:
        same = parent.data.tokenizer_.token_bytes[there[row["true_rank"] - 1]]
        assert words[here[row["rank"] - 1]] == same
    assert len(child.tables["ranks"]) > 50
    # The rest is drawn with the table's mean and spread, and everything else is the parent's.
    fresh = new["embedding.weight"][here[count:]]
    table = old["embedding.weight"]
    assert float(fresh.mean()) == pytest.approx(float(table.mean()), abs=0.05)
    assert float(fresh.std()) == pytest.approx(float(table.std()), rel=0.1)
    for name in new.keys() - {*tables}:
        assert torch.equal(new[name], old[name]), name


def test_ties_are_ranked_by_number() -> None:
    assert ranked(np.array([4, 7, 4, 7, 0]), np.array([3, 0, 2, 1])).tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("strategy", ["random", "shuffle", "zeros"])
def test_controls(strategy: Any) -> None:
    parent, child = task_of(), task_of(seed=1)
    found = TransplantEmbeddings(strategy).start(child, parent)
    words = parent.data.tokenizer_.ordinary
    new, old = child.model.state_dict(), parent.model.state_dict()
    here, there = (x["embedding.weight"][words] for x in (new, old))
    bias = [x["head.bias"][words] for x in (new, old)]
    assert found == {"transplant/copied": float(strategy == "shuffle")}
    if strategy == "zeros":
        assert not here.any()
        assert not bias[0].any()
    elif strategy == "random":
        assert not torch.isclose(here, there, atol=1e-4).all(1).any()
        assert float(here.std()) == pytest.approx(float(old["embedding.weight"].std()), rel=0.1)
        assert not bias[0].any()
    else:
        place = {tuple(row): i for i, row in enumerate(there.tolist())}
        order = [place[tuple(row)] for row in here.tolist()]
        assert sorted(order) == [*range(len(words))] != order
        assert torch.equal(bias[0], bias[1][order])  # a row and its bias stay together
    special = sorted(parent.data.tokenizer_.special)
    assert torch.equal(new["embedding.weight"][special], old["embedding.weight"][special])
    again = task_of(seed=2)
    TransplantEmbeddings(strategy).start(again, parent)
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, new[name]), name


def test_the_bias_may_stay_behind() -> None:
    parent, child = task_of(), task_of(seed=1)
    words = parent.data.tokenizer_.ordinary
    before = child.model.head.bias.clone()
    TransplantEmbeddings(remap_bias=False).start(child, parent)
    assert torch.equal(child.model.head.bias[words], before[words])
    special = sorted(parent.data.tokenizer_.special)
    assert torch.equal(child.model.head.bias[special], parent.model.head.bias[special])


def test_answers_that_the_parent_did_not_know_begin_as_its_unknown_word(in_tmp: Path) -> None:
    """All scores are a half then."""
    plain = ["task=masked_lm", "data=files", "data.train=t.txt", "data.validation=t.txt"]
    words = ["data.tokenizer=words", "data.block_size=16", "data.kind=lm", "data.document=file"]
    Path("t.txt").write_text("a b c a b a c b b a d d " * 30)
    general = [x for x in SMALL if x.startswith("model")]
    config = resolve([*general, *plain, *words, "data.begin=true"]).config
    parent: Any = build(config, data_of(config))
    child = task_of(seed=1)
    found = TransplantEmbeddings().start(child, parent)
    assert found is not None
    assert found["transplant/copied"] < 0.1
    table = child.model.embedding.weight
    unknown = parent.model.embedding.weight[parent.data.tokenizer_.unknown_id]
    for token in child.answers:
        assert torch.equal(table[token], unknown)
    with torch.no_grad():
        scores = child.score(next(evaluated(child, child.data.splits()["train"], 20)))
    assert (scores == 0.5).all()


def test_what_does_not_fit_is_told() -> None:
    child = task_of()
    with pytest.raises(ValueError, match="parent="):
        TransplantEmbeddings().start(child, None)
    with pytest.raises(ValueError, match="all but the vocabulary must be equal"):
        TransplantEmbeddings().start(child, task_of("model.num_layers=2"))
    with pytest.raises(ValueError, match=r"model\.num_heads is 2 in the child and 4"):
        TransplantEmbeddings().start(child, task_of("model.num_heads=4"))
    with pytest.raises(ValueError, match=r"the child has output\.weight, its parent has not"):
        TransplantEmbeddings().start(task_of("model.tie_embeddings=false"), child)
