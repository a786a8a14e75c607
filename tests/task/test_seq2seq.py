import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import suexp
from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.build import build
from suexp.launch.processes import run_one
from suexp.launch.spec import spec_of
from tests.support.batches import evaluated

SMALL = ("task=seq2seq", "data.tokenizer=bytes", "data.block_size=160", "model.dim=16")
SIZES = ("model.num_layers=2", "model.num_heads=2", "threads=1")


def task_of(*overrides: str) -> Any:
    torch.manual_seed(0)
    config = resolve([*SMALL, *SIZES, *overrides]).config
    return build(config, instantiate(config["data"]))


def batch_of(task: Any, count: int = 6) -> dict[str, torch.Tensor]:
    rows = task.data.splits()["validation"].__getitems__(list(range(count)))
    return task.data.collate(rows)


def test_loss_is_the_mean_over_the_targets_tokens_of_the_batch() -> None:
    task = task_of()
    batch = batch_of(task)
    with torch.no_grad():
        logits = task.model(
            batch["tokens"], batch["keep"], batch["segments"], prefix_length=batch["prefix_length"]
        )
    total = count = 0.0
    for row in range(len(logits)):
        first = int(batch["prefix_length"][row])
        last = int(batch["keep"][row].sum())
        target = batch["tokens"][row, first:last]
        total += float(F.cross_entropy(logits[row, first - 1 : last - 1], target, reduction="sum"))
        count += len(target)
    assert count == int(batch["segments"].sum())
    assert task.objective(batch).item() == pytest.approx(total / count, rel=1e-5)


def test_loss_on_all_counts_the_source_too() -> None:
    task = task_of("mask=causal", "task.loss_on=all")
    batch = batch_of(task)
    logits = task.model(batch["tokens"], batch["keep"])[:, :-1]
    target = batch["tokens"][:, 1:].masked_fill(~batch["keep"][:, 1:], -100)
    expected = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100)
    torch.testing.assert_close(task.objective(batch), expected)


@pytest.mark.parametrize("mask", ["prefix", "causal"])
def test_no_target_token_is_seen_before_it_is_predicted(mask: str) -> None:
    """Exact zeros: what is asked at t does not depend on y_t and later, nor on other rows."""
    task = task_of(f"mask={mask}")
    batch = batch_of(task, 3)
    logits, _ = task.predict(batch, "target")
    start = 0
    for row in range(3):
        first, length = int(batch["prefix_length"][row]), int(batch["segments"][row].sum())
        for t in (0, length // 2, length - 1):
            changed = {name: value.clone() for name, value in batch.items()}
            changed["tokens"][row, first + t :] = 65
            again, _ = task.predict(changed, "target")
            assert torch.equal(again[start : start + t + 1], logits[start : start + t + 1])
        start += length


def test_longer_padding_changes_nothing() -> None:
    task = task_of()
    batch = batch_of(task, 2)
    longer = {
        name: F.pad(value, (0, 7)) if value.ndim == 2 else value for name, value in batch.items()
    }
    found, _ = task.predict(longer, "target")
    torch.testing.assert_close(found, task.predict(batch, "target")[0], atol=1e-6, rtol=1e-6)


def test_a_run_reports_overlaps_and_an_example(in_tmp) -> None:
    settings = ["trainer.max_steps=2", "data.batch_size=4", "data.eval_batch_size=4"]
    settings += ["task.generate_rows=6", "task.max_target=5", "trainer.val_check_interval=1"]
    summary = suexp.run([*SMALL, *SIZES, *settings, "trainer.limit_val_batches=3"])
    metrics = summary.metrics
    assert 0 <= metrics["val/rouge_l"] <= 1
    assert 0 <= metrics["val/bleu"] <= 1
    parts = {"rouge_1": 0.2, "rouge_2": 0.4, "rouge_l": 0.4}
    main = sum(share * metrics[f"val/{name}"] for name, share in parts.items())
    assert metrics["val/main"] == pytest.approx(main, abs=1e-6)
    assert 0 <= metrics["val/source_ngram_precision"] <= 1
    assert metrics["val/generated_tokens_per_second"] >= 0
    assert "\n-> " in json.loads((summary.folder / "summary.json").read_text())["sample"]
    assert metrics["val/loss"] > 0
    lines = (summary.folder / "table.jsonl").read_text().splitlines()
    table = [json.loads(line) for line in lines]
    seen = {(row["query"], row["key"]) for row in table if row["visible"]}
    assert seen == {(i, j) for i in range(12) for j in range(12) if j <= max(i, 5)}
    lines = (summary.folder / "metrics.jsonl").read_text().splitlines()
    history = [json.loads(line) for line in lines]
    assert [row["step"] for row in history if "val/loss" in row] == [1, 2]
    assert [row["step"] for row in history if "val/bleu" in row] == [2]  # once training is over


@pytest.mark.slow
@pytest.mark.parametrize("rows", [2, 6])
def test_two_processes_write_the_same_texts(tmp_path, rows: int) -> None:
    """Of two rows the second process has none, and the first must not wait for it."""
    steps = ["trainer.max_steps=1", "trainer.val_check_interval=1", "trainer.limit_val_batches=3"]
    sizes = ["data.batch_size=4", "data.eval_batch_size=4", f"task.generate_rows={rows}"]
    several = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    found = []
    for name, devices in (("one", ["trainer=cpu"]), ("two", several)):
        overrides = [*SMALL, *SIZES, *devices, *steps, *sizes, "task.max_target=5"]
        summary = run_one(spec_of([*overrides, f"out={tmp_path / name}"]))
        assert summary is not None
        assert summary.status == "finished", summary.error
        found.append(summary.metrics)
    for name in ("val/rouge_l", "val/bleu", "val/source_ngram_precision"):
        assert found[1][name] == pytest.approx(found[0][name], abs=1e-6)


@pytest.mark.parametrize(("size", "processes"), [(4, 1), (7, 1), (4, 2), (3, 3)])
def test_the_first_rows_are_written(
    monkeypatch: pytest.MonkeyPatch, size: int, processes: int
) -> None:
    task, written = task_of("task.generate_rows=6"), []
    rows = task.data.splits()["validation"].select(range(20))
    monkeypatch.setattr(task, "_writes", lambda: True)
    monkeypatch.setattr(task, "_generate", lambda batch: written.extend(batch["index"].tolist()))
    for batch in evaluated(task, rows, size, processes):
        task.validation_step(batch, 0)
    assert sorted(written) == [*range(6)]


def test_generated_texts_are_what_a_row_alone_gives() -> None:
    task = task_of("decoding=beam", "task.max_target=6")
    batch = batch_of(task, 4)
    together = task.write(batch)
    assert len(together) == 4
    for row in range(4):
        width = int(batch["keep"][row].sum())
        alone = {
            name: value[row : row + 1, :width] if value.ndim == 2 else value[row : row + 1]
            for name, value in batch.items()
        }
        assert task.write(alone) == [together[row]]
        tokenizer = task.data.tokenizer_
        assert not {tokenizer.pad_id, tokenizer.mask_id} & set(together[row])


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["mask.length=4"], "the prefix is the source, of another length in each row; set mask.le"),
        (["mask=bidirectional"], "a token must not see the one it predicts; use mask=prefix"),
        (["mask=permutation"], "a token must not see the one it predicts"),
        (["attention=linear"], "all others or all earlier ones"),
        (["data=pydoc", "data.block_size=32"], "its rows have a source and a target"),
        (["task.loss_on=all"], "a source token sees the one it predicts"),
        (["position=learned", "position.max_length=8"], "position.max_length=8 is shorter than"),
    ],
)
def test_combinations_that_cannot_work(overrides: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line) as error:
        resolve([*SMALL, *overrides])
    assert "\n" not in str(error.value)


def test_bad_numbers() -> None:
    with pytest.raises(UserError, match="max_target 0 at least 1"):
        task_of("task.max_target=0")
