"""Densities through whole runs."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.summary import Summary

QUIET = [
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
    "threads=1",
    "trainer=cpu",
]
DIGITS = ["data=digits", "data.dequantize=true", "data.scale=4"]
TRAIN = ["task=autoencoding", *DIGITS, "trainer.max_steps=4", "trainer.val_check_interval=4"]
SMALL = ["model.hidden_dims=[8]", "model.latent_dim=2", "task.eval_num_samples=[1,4,8]"]


def run(tmp_path: Path, *overrides: str) -> Summary:
    config = spec_of([*overrides, *QUIET, f"out={tmp_path}"])
    summary = execute(config, lambda _: None)
    assert summary.status == "finished", summary.error
    return summary


def table(summary: Summary, name: str) -> list[dict[str, Any]]:
    lines = (summary.folder / "table.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["table"] == name]


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["elbo", "iwae"])
def test_trains_and_evaluates(tmp_path: Path, loss: str) -> None:
    summary = run(tmp_path, *TRAIN, *SMALL, f"loss={loss}", "task.compare_prior=true")
    metrics = summary.metrics
    for proposal in ("encoder", "prior"):
        found = [metrics[f"val/log_prob_{proposal}_m{m}"] for m in (1, 4, 8)]
        assert found == sorted(found)
        assert 1 <= metrics[f"val/ess_{proposal}"] <= 8
    assert metrics["val/log_prob"] == metrics["val/log_prob_encoder_m8"] == -metrics["val/loss"]
    assert metrics["val/log_prob_prior"] == metrics["val/log_prob_prior_m8"]
    bits = metrics["val/loss"] / (64 * math.log(2)) + math.log2(4)
    assert metrics["val/bits_per_dim"] == pytest.approx(bits)
    assert len(table(summary, "estimates")) == 6
    assert len(table(summary, "weights")) == 2 * 5 * 8
    assert "val/bias_encoder_m1" not in metrics


@pytest.mark.slow
def test_chunks_and_batches_do_not_matter_much(tmp_path: Path) -> None:
    """Other chunks are other draws of the same estimate."""
    base = run(tmp_path, *TRAIN, *SMALL).metrics
    chunked = run(tmp_path, *TRAIN, *SMALL, "task.max_samples_in_memory=1000").metrics
    assert chunked["val/log_prob"] == pytest.approx(base["val/log_prob"], rel=0.01)


@pytest.mark.slow
def test_evaluation_leaves_training_alone(tmp_path: Path) -> None:
    """Its draws come from generators of their own."""
    often = run(tmp_path, *TRAIN, *SMALL, "trainer.val_check_interval=1").metrics
    once = run(tmp_path, *TRAIN, *SMALL).metrics
    assert often["val/log_prob"] == once["val/log_prob"]


PPCA = ["task=density_fit", "model=ppca", *DIGITS, "task.eval_num_samples=[1,4,16]"]


@pytest.mark.slow
def test_ppca_knows_its_density(tmp_path: Path) -> None:
    for proposal in ("posterior", "encoder"):
        metrics = run(tmp_path, *PPCA, f"task.proposal={proposal}").metrics
        assert metrics["val/log_prob"] == pytest.approx(-75.57, abs=0.5)
        for m in (1, 4, 16):
            assert metrics[f"val/bias_{proposal}_m{m}"] == pytest.approx(0, abs=1e-8)
        assert metrics[f"val/ess_{proposal}"] == pytest.approx(16, abs=1e-6)


def test_bias_of_a_wide_and_of_the_priors_proposal(tmp_path: Path) -> None:
    summary = run(tmp_path, *PPCA, "model.proposal_scale=1.3", "task.compare_prior=true")
    metrics = summary.metrics
    assert metrics["val/bias_encoder_m1"] == pytest.approx(-0.661, abs=0.03)
    assert metrics["val/bias_prior_m16"] < -10
    wide = [row for row in table(summary, "estimates") if row["proposal"] == "encoder"]
    assert wide[0]["asymptote"] == pytest.approx(0.537, abs=1e-3)
    assert wide[2]["gap"] == -metrics["val/bias_encoder_m16"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gaussian", "gmm"])
def test_other_fits(tmp_path: Path, model: str) -> None:
    extra = ["model.num_components=3"] if model == "gmm" else []
    summary = run(tmp_path, "task=density_fit", f"model={model}", *DIGITS, *extra)
    assert -80 < summary.metrics["val/log_prob"] < -30
    assert "val/log_prob_encoder_m1" not in summary.metrics


@pytest.mark.slow
def test_fit_does_not_depend_on_batches(tmp_path: Path) -> None:
    found = [
        run(tmp_path, *PPCA, f"data.batch_size={size}").metrics["val/log_prob"]
        for size in (33, 1400)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-9)


def test_continuous_data_have_no_bits(tmp_path: Path) -> None:
    metrics = run(tmp_path, "task=density_fit").metrics
    assert "val/bits_per_dim" not in metrics
    assert math.isfinite(metrics["val/log_prob"])


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("task.eval_num_samples=[]", "eval_num_samples"),
        ("task.eval_num_samples=[0,1]", "at least 1 each"),
        ("task.max_samples_in_memory=0", "max_samples_in_memory must be at least 1"),
    ],
)
def test_mistakes_are_refused_when_composed(tmp_path: Path, override: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        spec_of([*PPCA, override, *QUIET, f"out={tmp_path}"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "line"),
    [("model.latent_dim=64", "latent_dim must be at least 1 and below the 64")],
)
def test_mistakes_are_one_line(tmp_path: Path, override: str, line: str) -> None:
    config = spec_of([*PPCA, override, *QUIET, f"out={tmp_path}"])
    summary = execute(config, lambda _: None)
    assert summary.mistake
    assert line in summary.error
    assert "\n" not in summary.error
