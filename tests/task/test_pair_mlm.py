"""One loss for masked words and the pair's label; rows, their cut, and the score."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor

from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.config.quoting import readable
from suexp.data.frequencies import frequencies
from suexp.errors import UserError
from suexp.job.build import build, data_of
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.task._fill_in import IGNORE
from suexp.task.pair_mlm import PairMLM, cut
from tests.support.batches import evaluated

SMALL = (
    *("task=pair_mlm", "data.num_train=400", "data.num_validation=120", "data.vocab_size=300"),
    *("model.dim=16", "model.num_layers=1", "model.num_heads=2", "model.head=mlm"),
    *("threads=1", "trainer=cpu", "trainer.enable_progress_bar=false"),
)


@functools.cache
def composed(*overrides: str) -> Any:
    config = resolve([*SMALL, *overrides]).config
    return config, data_of(config)


def task_of(*overrides: str) -> PairMLM:
    torch.manual_seed(0)
    task = build(*composed(*overrides))
    assert isinstance(task, PairMLM)
    return task


def learned(spread: float) -> PairMLM:
    """Return a task whose model does not answer alike to all, as if it had learned."""
    task = task_of().eval()
    with torch.no_grad():
        for p in task.model.parameters():
            p.add_(spread * torch.randn_like(p))
    return task


def batch_of(task: Any, rows: int = 64, split: str = "train") -> dict[str, Tensor]:
    return next(evaluated(task, task.data.splits()[split], rows))


def by_hand(a: list[int], b: list[int], room: int) -> tuple[list[int], list[int]]:
    a, b = [*a], [*b]
    while len(a) + len(b) > room:
        longest = a if len(a) >= len(b) else b
        longest.pop()
    return a, b


@pytest.mark.parametrize("room", [2, 7, 8, 32])
def test_of_two_texts_the_longer_one_is_cut_first(room: int) -> None:
    """The closed form equals popping one token at a time."""
    sizes = [(n, m) for n in range(1, 42) for m in range(1, 42)]
    n, m = cut(*(torch.tensor(x) for x in zip(*sizes, strict=True)), room)
    expected = [tuple(map(len, by_hand([0] * i, [0] * j, room))) for i, j in sizes]
    assert [*zip(n.tolist(), m.tolist(), strict=True)] == expected
    assert int((n + m).max()) <= room


@pytest.mark.parametrize("block_size", [35, 10, 5])
def test_rows_begin_close_both_texts_and_are_cut(block_size: int) -> None:
    task = task_of(f"data.block_size={block_size}")
    batch, tokenizer = batch_of(task), task.data.tokenizer_  # type: ignore[attr-defined]
    swap = torch.arange(64) % 3 == 0
    tokens, keep = task.joined(batch, swap)
    assert tokens.shape == keep.shape == (64, block_size)
    for row in range(64):
        texts = [batch[f"tokens_{s}"][row][batch[f"keep_{s}"][row]].tolist()[1:] for s in "ab"]
        first, second = by_hand(*(texts[::-1] if swap[row] else texts), block_size - 3)
        expected = [*tokenizer.begin, *first, tokenizer.eot_id, *second, tokenizer.eot_id]
        assert tokens[row][keep[row]].tolist() == expected
        assert set(tokens[row][~keep[row]].tolist()) <= {tokenizer.pad_id}


def test_frames_of_wordpiece_are_those_of_the_row(in_tmp: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "green", "blue"]
    Path("vocab.txt").write_text("\n".join(words))
    Path("t.tsv").write_text("red green\tblue\t1\nblue\tgreen green red\t0\n")
    settings = ["data=files", "data.train=t.tsv", "data.validation=t.tsv", "data.kind=pairs"]
    settings += ["data.tokenizer=wordpiece", "data.vocab=vocab.txt", "data.header=false"]
    settings += ["data.columns.text=0", "data.columns.other=1", "data.columns.label=2"]
    config = resolve(["task=pair_mlm", *settings, "data.reserved=2", "model.dim=16"]).config
    task: Any = build(config, instantiate(config["data"]))
    tokens, keep = task.joined(batch_of(task, 2))
    assert tokens[0][keep[0]].tolist() == [2, 5, 6, 3, 7, 3]
    assert tokens[1][keep[1]].tolist() == [2, 7, 3, 6, 6, 5, 3]
    assert task.answers == (8, 9)


def test_shares_of_what_is_hidden() -> None:
    """12 % hidden, 1.5 % kept, 1.5 % another word, each within four standard errors."""
    task = task_of()
    batch = {
        name: x.repeat(50, 1) if x.ndim == 2 else x.repeat(50)
        for name, x in batch_of(task, 400).items()
    }
    tokens, keep = task.joined(batch)
    used = int(keep.sum(1).max())
    tokens, keep = tokens[:, :used], keep[:, :used]
    found = task.asks_of(batch)
    inputs, target = found["tokens"], found["target"]
    special = sorted(task.data.tokenizer_.special)  # type: ignore[attr-defined]
    ordinary = ~torch.isin(tokens, torch.tensor(special))
    count = int(ordinary.sum())
    chosen = target[:, 1:] != IGNORE
    assert not (chosen & ~ordinary[:, 1:]).any()  # specials and padding are never asked for
    assert torch.equal(inputs.where(~ordinary, tokens), tokens)  # nor changed
    at = torch.zeros_like(ordinary)
    at[:, 1:] = chosen
    assert torch.equal(target[at], tokens[at])
    hidden = at & (inputs == task.mask_id)
    kept = at & (inputs == tokens)
    swapped = at & ~hidden & ~kept
    words = task.data.tokenizer_.ordinary  # type: ignore[attr-defined]
    assert set(inputs[swapped].tolist()) <= {*words.tolist()}
    same = 0.015 / len(words)  # a drawn word is the word itself
    for part, share in ((hidden, 0.12), (kept, 0.015 + same), (swapped, 0.015 - same)):
        error = (share * (1 - share) / count) ** 0.5
        assert int(part.sum()) / count == pytest.approx(share, abs=4 * error)


def test_a_label_is_asked_for_where_there_is_one() -> None:
    task = task_of("data.num_labeled=40")
    batch = batch_of(task)
    assert batch["labelled"].sum() == 40
    target = task.asks_of(batch)["target"][:, 0]
    no, yes = task.data.tokenizer_.reserved  # type: ignore[attr-defined]
    assert target[:40].tolist() == [yes if x else no for x in batch["match"][:40]]
    assert (target[40:] == IGNORE).all()
    nothing = {name: x for name, x in batch.items() if name not in ("match", "labelled")}
    assert (task.asks_of(nothing)["target"][:, 0] == IGNORE).all()


def test_the_loss_is_the_mean_over_all_places_and_labels_may_weigh_more() -> None:
    found = {}
    for weight in (1.0, 3.0, 0.0):
        task = task_of(f"task.label_weight={weight}", "data.num_labeled=40")
        asked = task.asks_of(batch_of(task), rows=torch.arange(64))
        logits = task.model(asked["tokens"], keep=asked["keep"])
        each = F.cross_entropy(logits.flatten(0, 1), asked["target"].flatten(), reduction="none")
        each = each.view(64, -1)
        weights = (asked["target"] != IGNORE).float()
        weights[:, 0] *= weight
        expected = ((each * weights).sum() / weights.sum()).detach()
        torch.testing.assert_close(task.objective(asked).detach(), expected)
        assert float(task.terms(asked)) == pytest.approx(float(weights.sum()))
        found[weight] = float(expected)
    assert len({round(x, 4) for x in found.values()}) == 3


def test_padding_has_no_part() -> None:
    task = task_of()
    asked = task.asks_of(batch_of(task))
    longer = {
        "tokens": F.pad(asked["tokens"], (0, 5), value=7),
        "keep": F.pad(asked["keep"], (0, 5), value=False),
        "target": F.pad(asked["target"], (0, 5), value=IGNORE),
    }
    torch.testing.assert_close(task.objective(longer), task.objective(asked))


def test_a_batch_without_a_question_has_loss_0() -> None:
    task = task_of("task.mask_ratio=0", "data.num_labeled=1")
    batch = {name: x[1:9] for name, x in batch_of(task).items()}
    loss = task.objective(batch)
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is not None and not p.grad.any() for p in task.model.parameters())
    # And with labels alone, these are asked for from texts in which nothing is hidden.
    first = {name: x[:1] for name, x in batch_of(task).items()}
    asked = task.asks_of(first)
    assert (asked["target"] != IGNORE).sum() == 1
    assert not (asked["tokens"] == task.mask_id).any()


def test_texts_change_places_in_training_alone() -> None:
    task = task_of("task.mask_ratio=0")
    batch = batch_of(task, 400)
    plain, _ = task.joined(batch)
    swapped, _ = task.joined(batch, torch.ones(400, dtype=torch.bool))
    used = task.asked(batch)["tokens"].shape[1]
    tokens = task.asked(batch)["tokens"]
    is_plain = (tokens == plain[:, :used]).all(1)
    assert (is_plain | (tokens == swapped[:, :used]).all(1)).all()
    assert float(is_plain.float().mean()) == pytest.approx(0.5, abs=0.1)
    fixed = task_of("task.swap=false", "task.mask_ratio=0")
    assert torch.equal(fixed.asked(batch)["tokens"], plain[:, :used])
    assert torch.equal(task.asks_of(batch)["tokens"], plain[:, :used])


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_ask_what_one_would(
    processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of("data.num_labeled=40")
    batch = batch_of(task, 64)
    torch.manual_seed(3)
    whole = task.asked(batch)
    for rank in range(processes):
        monkeypatch.setattr(PairMLM, "place", (rank, processes))
        torch.manual_seed(3)
        part = task.asked({name: x[rank::processes] for name, x in batch.items()})
        used = part["tokens"].shape[1]
        for name in ("tokens", "keep", "target"):
            assert torch.equal(part[name], whole[name][rank::processes, :used])


def test_scores() -> None:
    """No symmetry is built in; a constant on all logits changes nothing; both orders' mean."""
    task = learned(0.5)
    batch = batch_of(task, 40)
    turned = dict(batch)
    for name in ("tokens", "keep"):
        turned[f"{name}_a"], turned[f"{name}_b"] = batch[f"{name}_b"], batch[f"{name}_a"]
    one, two = task.score(batch), task.score(turned)
    assert (one - two).abs().max() > 1e-3
    task.tta_swap = True
    torch.testing.assert_close(task.score(batch), (one + two) / 2)
    torch.testing.assert_close(task.score(turned), task.score(batch))
    task.tta_swap = False
    with torch.no_grad():
        task.model.head.bias += 3.0
    torch.testing.assert_close(task.score(batch), one)
    with torch.no_grad():
        task.model.head.bias[task.answers[1]] += 2.0
    odds = task.score(batch) / (1 - task.score(batch))
    torch.testing.assert_close(odds, one / (1 - one) * np.exp(2.0), rtol=1e-4, atol=1e-5)


def validated(task: PairMLM, size: int) -> dict[str, float]:
    logged: dict[str, float] = {}
    task.report = lambda metrics: logged.update(metrics)  # type: ignore[method-assign]
    with torch.no_grad():
        for batch in evaluated(task, task.data.splits()["validation"], size):
            task.evaluate(batch)
    task.finish_split("val")
    return {name: float(x) for name, x in logged.items()}


def test_auc_is_sklearns_and_figures_do_not_depend_on_batches() -> None:
    task = learned(0.3)
    batch = batch_of(task, 120, "validation")
    with torch.no_grad():
        expected = roc_auc_score(batch["match"], task.score(batch))
    whole, parts = validated(task, 120), validated(task, 7)
    assert whole["val/auc"] == pytest.approx(expected, abs=1e-6)
    assert whole.keys() == {"val/loss", "val/mlm_loss", "val/auc"}
    assert parts == pytest.approx(whole, rel=1e-5)
    # Coarse scores, most of which are equal: ties count half.
    score = task.score
    task.score = lambda batch: (score(batch) * 8).round() / 8  # type: ignore[method-assign]
    with torch.no_grad():
        expected = roc_auc_score(batch["match"], task.score(batch))
    assert validated(task, 120)["val/auc"] == pytest.approx(expected, abs=1e-6)


def test_equal_rows_of_both_answers_score_a_half() -> None:
    task = learned(0.3)
    no, yes = task.answers
    with torch.no_grad():
        task.model.embedding.weight[yes] = task.model.embedding.weight[no]
        task.model.head.bias[yes] = task.model.head.bias[no]
        assert (task.score(batch_of(task)) == 0.5).all()
    assert validated(task, 50)["val/auc"] == 0.5


def test_a_split_without_labels_has_no_auc(in_tmp: Path) -> None:
    Path("t.tsv").write_text("ab cd\tcd\n" * 12 + "cd ab\tab\n" * 9)
    settings = ["data=files", "data.train=t.tsv", "data.validation=t.tsv", "data.kind=pairs"]
    settings += ["data.tokenizer=words", "data.header=false", "data.columns.text=0"]
    settings += ["data.columns.other=1", "data.reserved=2", "data.begin=true", "model.dim=16"]
    config = resolve(["task=pair_mlm", *settings]).config
    task: Any = build(config, instantiate(config["data"]))
    assert validated(task, 8).keys() == {"val/loss", "val/mlm_loss"}


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["data.reserved=1"], r"set data\.reserved=2"),
        (["data.begin=false"], r"set data\.begin=true"),
        (["data.block_size=4"], "at least 5 tokens"),
        (["task.mask_ratio=1"], r"mask_ratio must lie in \[0, 1\)"),
        (["task.label_weight=-1"], "label_weight must be at least 0"),
        (["mask=causal"], "use mask=bidirectional"),
    ],
)
def test_mistakes(overrides: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        task_of(*overrides)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["data=pydoc"], "task=pair_mlm needs pairs: .*use data=pairs_prose"),
        (["model=bag_encoder"], "or model=transformer"),
        (["task=matching", "data=pairs_prose", "data.num_labeled=9"], "task=pair_mlm, or leave"),
    ],
)
def test_what_does_not_fit(overrides: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        resolve(["task=pair_mlm", *overrides])


PARENT = ["alter=none", "data.part=plain", "trainer.max_steps=2", "seed=0"]


def curve(tmp_path: Path, seed: int, *overrides: str) -> dict[str, float]:
    parent = readable(f"parent=[{','.join(PARENT)}]")
    settings = [*SMALL, "data.part=secret", "alter=anonymize", f"alter.anonymize.seed={seed}"]
    settings += ["data.vocab_size=24", "alter.anonymize.min_count=1", "trainer.max_steps=3"]
    settings += ["transform=transplant_embeddings", parent, f"out={tmp_path}"]
    summary = execute(spec_of([*settings, *overrides]))
    assert summary.finished, summary.error
    names = ("train/loss", "val/loss", "val/mlm_loss", "val/auc", "transplant/copied")
    return {name: summary.metrics[name] for name in names}


@pytest.mark.slow
def test_a_run_does_not_depend_on_the_secret_permutation(tmp_path: Path) -> None:
    """Of 20 words that are all of different frequencies."""
    _, data = composed("data.part=secret", "data.vocab_size=24")
    counts = frequencies(data)[data.tokenizer_.ordinary]
    assert len({*counts}) == len(counts) == 20
    first = curve(tmp_path, 0)
    assert curve(tmp_path, 7) == first
    assert first["transplant/copied"] == 1
    assert curve(tmp_path, 0, "transform.strategy=shuffle") != first


@pytest.mark.slow
def test_real_pairs_labelled_and_not(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_data / "oppo_xiaobu"
    settings = [
        *("task=pair_mlm", "data=files", "data.kind=pairs", f"data.train={folder}/dev.txt"),
        *(f"data.unlabelled={folder}/test.txt", "data.format=tsv", "data.header=false"),
        *("data.columns.text=0", "data.columns.other=1", "data.columns.label=2"),
        *("data.tokenizer=chars", "data.vocab_size=2000", "data.block_size=35"),
        *("data.reserved=2", "data.begin=true", "alter=anonymize", *SMALL[4:]),
        *("trainer.max_steps=2", "trainer.limit_val_batches=4", f"out={tmp_path}"),
    ]
    summary = execute(spec_of(settings))
    assert summary.finished, summary.error
    assert 0.2 < summary.metrics["val/auc"] < 0.8
    assert 3 < summary.metrics["val/mlm_loss"] < 9
