"""Likelihoods of single tokens and of texts, what they cost, and whether outputs know too much."""

from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.callback.leave_one_out import LeaveOneOut
from suexp.callback.likelihood_time import LikelihoodTime
from suexp.callback.reranking import Reranking, misprints
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import tiny, unchecked

ALL = (
    "callback=[leave_one_out,reranking,likelihood_time,leak]",
    "callbacks.leave_one_out.pairs=30",
    "callbacks.reranking.texts=3",
    "callbacks.likelihood_time.lengths=[4,8]",
    "callbacks.leak.length=6",
)


def run(tmp_path: Path, *overrides: str) -> tuple[dict[str, Any], Run]:
    settings = tiny(tmp_path, "trainer.max_steps=4", "trainer.val_check_interval=2", *overrides)
    settings.remove("task.sample_tokens=0")
    config = spec_of(settings)
    return execute(config), Run(config)


@pytest.mark.parametrize("task", ["autoencode_lm", "masked_lm"])
def test_everything_is_measured_and_nothing_changed(task: str, tmp_path: Path) -> None:
    summary, stored = run(tmp_path, f"task={task}", *ALL)
    metrics = summary.metrics
    assert 0 < metrics["val/loo_loss"] < 10
    assert 0 <= metrics["val/loo_accuracy"] <= 1
    assert metrics["val/rerank_accuracy"] * 3 == pytest.approx(
        round(metrics["val/rerank_accuracy"] * 3)
    )
    assert metrics["val/likelihood_seconds_n8"] > 0
    assert (metrics["val/leak"] < 1e-6) == (task == "autoencode_lm")
    assert metrics["val/influence"] > 1e-6
    tables = stored.tables()
    assert [row["n"] for row in tables["likelihood_time"]] == [4, 8]
    assert len(tables["influence"]) == 36
    assert [line["step"] for line in stored.history() if "val/loo_loss" in line] == [2, 4]
    bare, _ = run(tmp_path, f"task={task}")
    assert bare.metrics["val/loss"] == metrics["val/loss"]


def test_updated_keys_show_up_as_a_leak(tmp_path: Path) -> None:
    leaking = ("task=autoencode_lm", "model.update_kv=true", "task.allow_leak=true")
    summary, stored = run(tmp_path, *leaking, *ALL)
    assert summary.metrics["val/leak"] > 1e-6
    by_layer = [row["leak"] for row in stored.tables()["leak"]]
    assert by_layer[0] < 1e-6 < min(by_layer[1:])


def test_misprints_differ_in_one_or_two_tokens() -> None:
    texts = torch.randint(256, (5, 20))
    found = misprints(texts, 8)
    assert torch.equal(found[:, 0], texts)
    different = (found[:, 1:] != texts[:, None]).sum(-1)
    assert set(different.flatten().tolist()) == {1, 2}
    assert torch.equal(found, misprints(texts, 8))


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pairs 0 and per_text 8 must be at least 1"):
        LeaveOneOut(pairs=0)
    with pytest.raises(ValueError, match="candidates 1 at least 2"):
        Reranking(candidates=1)
    with pytest.raises(ValueError, match="lengths must have an entry"):
        LikelihoodTime(lengths=[])
    summary = execute(unchecked(tiny(tmp_path), "leave_one_out"))
    assert summary.mistake
    assert "asks for tokens between others; use task=masked_lm" in summary.error
    summary = execute(unchecked(tiny(tmp_path, "position=learned"), "likelihood_time"))
    assert summary.error.startswith("callback=likelihood_time: a text of 64 tokens is longer")
