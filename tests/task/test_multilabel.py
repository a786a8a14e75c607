"""Texts with several labels each."""

import json
from pathlib import Path

import pytest
import torch
from sklearn.metrics import f1_score

from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.build import build
from suexp.launch.spec import spec_of

SMALL = (
    *("task=multilabel", "data.kind=multilabel", "data.tokenizer=bytes", "model.dim=8"),
    *("model.num_heads=2", "model.num_layers=1", "data.batch_size=4", "threads=1", "trainer=cpu"),
)
LABELS = [["x"], ["x", "y"], [], ["z", "y"], "x", ["z"]]


def rows(name: str) -> None:
    lines = [json.dumps({"text": f"text {i}", "label": label}) for i, label in enumerate(LABELS)]
    Path(name).write_text("\n".join(lines))


def test_figures_are_scikit_learns(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows("t.jsonl")
    spec = spec_of([*SMALL, "data.train=t.jsonl", "data.validation=t.jsonl"])
    data = instantiate(spec.config["data"])
    task = build(spec.config, data)
    batch = data.collate(data.splits()["validation"].__getitems__(range(6)))
    wanted = [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0], [0, 0, 1]]
    assert batch["labels"].int().tolist() == wanted
    task.objective(batch).backward()
    logits = torch.tensor(
        [[1.0, -1, 2], [3, 1, -1], [-1, -1, -1], [-1, 2, 1], [-1, 1, -2], [1, 1, 1]]
    )
    monkeypatch.setattr("suexp.task.multilabel.outputs", lambda model, batch: batch["logits"])
    for part in (slice(4), slice(4, 6)):
        task.evaluate({"labels": batch["labels"][part], "logits": logits[part]})
    told: dict[str, float] = {}
    monkeypatch.setattr(task, "report", told.update)
    task.finish_split("val")
    found = (logits > 0).numpy()
    assert float(told["val/f1_micro"]) == pytest.approx(f1_score(wanted, found, average="micro"))
    assert float(told["val/f1_macro"]) == pytest.approx(f1_score(wanted, found, average="macro"))
    assert float(told["val/accuracy"]) == pytest.approx(3 / 6)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.tensor(wanted).float()
    )
    assert float(told["val/loss"]) == pytest.approx(float(expected))
    assert {"val/loss", "val/f1_micro", "val/f1_macro", "val/accuracy"} == set(task.worst("val"))


def test_other_data_and_losses_are_refused() -> None:
    with pytest.raises(
        UserError, match="needs label sets: its texts have several labels each; use"
    ):
        resolve(["task=multilabel"])
    with pytest.raises(UserError, match="needs separate scores: its loss judges each label"):
        resolve(["task=multilabel", "data.kind=multilabel", "loss=cross_entropy"])


def test_one_label_a_text_leads_here(in_tmp: Path) -> None:
    rows("t.jsonl")
    config = resolve(["task=classification", "data=files", "data.kind=classification",
                      "data.train=t.jsonl"]).config  # fmt: skip
    with pytest.raises(UserError, match=r"use task=multilabel data.kind=multilabel"):
        instantiate(config["data"]).splits()
