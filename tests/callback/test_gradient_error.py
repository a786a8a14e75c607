"""Errors of gradients and costs of steps, measured while a run trains."""

from pathlib import Path
from typing import Any

import pytest

from suexp.config.compose import resolve
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.store.spec import RunSpec
from tests.support.tiny import unchecked

SMALL = (
    "task=matching",
    "model=bag_encoder",
    "model.dim=16",
    "data.tokenizer=bytes",
    "data.block_size=16",
    "data.batch_size=32",
    "trainer=cpu",
    "trainer.max_steps=5",
    "trainer.val_check_interval=5",
    "trainer.enable_progress_bar=false",
    "threads=1",
)
CALLBACKS = (
    "callback=[gradient_error,step_cost]",
    "callbacks.gradient_error.every=2",
    "callbacks.step_cost.every=2",
)
CACHE = ("method=grad_cache", "method.grad_cache.chunk_size=4")
NAIVE = ("method=naive_accumulation", "method.naive_accumulation.chunk_size=4")


def run(tmp_path: Path, *overrides: str) -> tuple[dict[str, float], list[dict[str, Any]]]:
    config = spec_of([*SMALL, *CALLBACKS, f"out={tmp_path}", *overrides])
    summary = execute(config)
    assert summary.status == "finished", summary.error
    return summary.metrics, Run(config).history()


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_error_of_each_method(tmp_path: Path, dropout: float) -> None:
    drop = f"model.dropout={dropout}"
    direct, _ = run(tmp_path, drop)
    cached, history = run(tmp_path, drop, *CACHE)
    naive, _ = run(tmp_path, drop, *NAIVE)
    assert direct["train/grad_rel_error_max"] == 0
    assert cached["train/grad_rel_error_max"] < 1e-5
    assert naive["train/grad_rel_error"] > 0.1
    assert naive["train/grad_cosine"] < 0.99
    assert [line["step"] for line in history if "train/grad_rel_error" in line] == [2, 4]
    assert cached["train/surrogate_gap"] == pytest.approx(1, abs=1e-3)  # cosine: it is 0
    assert "train/surrogate_gap" not in naive


def test_what_the_chunks_draw_differently_shows(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="draw different masks"):
        wrong, _ = run(tmp_path, "model.dropout=0.2", *CACHE, "method.grad_cache.replay_rng=false")
    assert wrong["train/grad_rel_error"] > 0.1


def test_statistics_of_chunks_show(tmp_path: Path) -> None:
    batch_norm = ("norm=batch", "method.grad_cache.allow_batch_norm=true")
    wrong, _ = run(tmp_path, *CACHE, *batch_norm)
    direct, _ = run(tmp_path, "norm=batch")
    assert wrong["train/grad_rel_error"] > 0.1
    assert direct["train/grad_rel_error"] == 0


def test_measuring_changes_nothing(tmp_path: Path) -> None:
    plain = resolve([*SMALL, *CACHE, "model.dropout=0.2", "norm=batch", f"out={tmp_path}"])
    plain.config["method"]["grad_cache"]["allow_batch_norm"] = True
    summary = execute(RunSpec.of(plain.config))
    allowed = "method.grad_cache.allow_batch_norm=true"
    measured, _ = run(tmp_path, *CACHE, "model.dropout=0.2", "norm=batch", allowed)
    for name in ("train/loss", "val/loss", "val/mrr"):
        assert measured[name] == summary.metrics[name]


@pytest.mark.slow
def test_cost_of_each_method(tmp_path: Path) -> None:
    big = ("data.batch_size=128", "loss.similarity=dot", "model.num_layers=4")
    direct, _ = run(tmp_path, *big)
    cached, _ = run(tmp_path, *big, *CACHE)
    naive, _ = run(tmp_path, *big, *NAIVE)
    assert direct["train/forward_rows"] == naive["train/forward_rows"] == 2
    assert cached["train/forward_rows"] == 4
    assert cached["train/activation_bytes"] < 0.5 * direct["train/activation_bytes"]
    assert naive["train/activation_bytes"] < 0.1 * direct["train/activation_bytes"]
    assert direct["train/seconds_per_step"] > 0


def test_other_tasks_are_refused(tmp_path: Path) -> None:
    config = unchecked(
        [
            *("task=classification", "data=digits", "model=mlp", "model.dim=8"),
            *("trainer=cpu", "trainer.enable_progress_bar=false", "threads=1", f"out={tmp_path}"),
        ],
        "gradient_error",
    )
    summary = execute(config)
    assert summary.status == "failed"
    assert "compares losses on vectors; use task=matching" in summary.error
