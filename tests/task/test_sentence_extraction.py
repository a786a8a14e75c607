"""Extraction: the loss over real sentences, what is chosen, and what it is worth."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import suexp
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.build import build, data_of
from suexp.nn.overlap import main_score, units

SMALL = ("task=sentence_extraction", "model.dim=8", "threads=1")


def task_of(*overrides: str) -> Any:
    torch.manual_seed(0)
    config = resolve([*SMALL, *overrides]).config
    return build(config, data_of(config)).eval()


def batch_of(task: Any, count: int = 6) -> dict[str, torch.Tensor]:
    return task.data.collate(task.data.splits()["validation"].__getitems__(list(range(count))))


def test_the_loss_is_that_of_real_sentences() -> None:
    task = task_of()
    batch = batch_of(task)
    scores = task.model(batch["x"], batch["keep"])
    total, count = torch.zeros(()), 0
    for row, keep in enumerate(batch["keep"]):
        p = torch.sigmoid(scores[row][keep])
        total = total + F.binary_cross_entropy(
            p, batch["label"][row][keep].float(), reduction="sum"
        )
        count += int(keep.sum())
    torch.testing.assert_close(task.objective(batch), total / count)
    assert task.terms(batch) == count
    batch["label"][~batch["keep"]] = 1
    torch.testing.assert_close(task.objective(batch), total / count)


def test_what_is_chosen() -> None:
    task = task_of("task.threshold=0.3")
    assert task.chosen(torch.tensor([0.4, 0.1, 0.31, 0.3])) == [0, 2]
    assert task.chosen(torch.tensor([0.1, 0.2, 0.0])) == [1]  # the likeliest, at least


def figures(task: Any, batch: Any) -> dict[str, float]:
    task.evaluate(batch)
    found = {name: float(figure.compute()) for name, figure in task.figures.items()}
    for figure in task.figures.values():
        figure.reset()
    return found


def test_figures_of_a_perfect_model_are_the_oracle_s(monkeypatch: pytest.MonkeyPatch) -> None:
    task, oracle = task_of(), task_of("task.choose=oracle")
    batch = batch_of(task)
    answers = 20.0 * (2 * batch["label"] - 1)
    monkeypatch.setattr(task.model, "forward", lambda *_: answers)
    found = figures(task, batch)
    assert found.pop("loss") == pytest.approx(0, abs=1e-6)
    assert found["hit_rate"] == 1
    assert found["selected"] == pytest.approx(int(batch["label"].sum()) / 6)
    assert {**figures(oracle, batch), **found} == figures(oracle, batch)


def test_figures_without_a_model() -> None:
    tasks = {name: task_of(f"task.choose={name}") for name in ("lead", "random", "whole")}
    batch = batch_of(tasks["lead"])
    expected = dict.fromkeys(tasks, 0.0)
    first = share = sentences = 0.0
    for number in batch["document"].tolist():
        document = tasks["lead"].data.documents[number]
        reference = units(document.summary, "alphanumeric")
        scores = [main_score(units(s, "alphanumeric"), reference) for s in document.sentences]
        whole = main_score(units(" ".join(document.sentences), "alphanumeric"), reference)
        found = {"lead": scores[0], "random": sum(scores) / len(scores), "whole": whole}
        expected = {name: expected[name] + value / 6 for name, value in found.items()}
        first += document.labels[0] / 6
        share += sum(document.labels) / len(document.labels) / 6
        sentences += len(document.labels) / 6
    said = {name: figures(task, batch) for name, task in tasks.items()}
    for name, value in expected.items():
        assert said[name]["main"] == pytest.approx(value, abs=1e-6)
    hits = [said[name]["hit_rate"] for name in tasks]
    assert hits == pytest.approx([first, share, 1], abs=1e-6)
    chosen = [said[name]["selected"] for name in tasks]
    assert chosen == pytest.approx([1, 1, sentences], abs=1e-5)


def test_a_run_reports_what_it_chose(in_tmp: Path) -> None:
    settings = ["trainer.max_steps=2", "data.batch_size=4", "data.eval_batch_size=8"]
    settings += ["trainer.val_check_interval=1", "trainer.limit_val_batches=2"]
    summary = suexp.run([*SMALL, *settings])
    assert summary.finished, summary.error
    assert summary.metrics["val/selected"] >= 1
    assert 0 <= summary.metrics["val/main"] <= 1
    assert "\n-> " in (summary.sample or "")


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["data=pydoc"], "data=docstring_extract"),
        (["model=transformer"], "model=dgcnn_tagger"),
        (["task=tagging", "model=dgcnn_tagger"], "data=docstring_extract"),
        (["task.threshold=1.5"], "threshold must be in"),
        (["task.unit=letter"], "unit"),
        (["task.choose=best"], "choose"),
    ],
)
def test_mistakes(overrides: list[str], line: str) -> None:
    with pytest.raises((UserError, ValueError), match=line):
        resolve([*SMALL, *overrides])
