"""The mean of the chunks' losses: right for means over samples, wrong for contrastive losses."""

from pathlib import Path

import pytest
import torch

from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.method import GradCache, NaiveAccumulation
from suexp.store.folder import Run
from tests.method.toy import COSINE, cosine, error, gradient, toy


def test_naive_accumulation_is_another_gradient() -> None:
    _, expected = gradient(*toy())
    _, found = gradient(*toy(NaiveAccumulation(8)))
    assert error(found, expected) > 0.1
    assert cosine(found, expected) < 0.99


def test_naive_accumulation_of_one_chunk_is_the_batch() -> None:
    expected_loss, expected = gradient(*toy(**COSINE))
    for method in (NaiveAccumulation(64), GradCache(64)):
        found_loss, found = gradient(*toy(method, **COSINE))
        torch.testing.assert_close(found_loss, expected_loss)
        assert error(found, expected) < 1e-12


def test_naive_accumulation_is_the_mean_of_the_chunks() -> None:
    task, batch = toy(**COSINE)
    parts = [{"x": batch["x"][:24]}, {"x": batch["x"][24:48]}, {"x": batch["x"][48:]}]
    losses = [task.objective(part) * len(part["x"]) / 64 for part in parts]
    torch.autograd.backward(losses)
    expected = [p.grad for p in task.parameters()]
    loss, found = gradient(*toy(NaiveAccumulation(24), **COSINE))
    torch.testing.assert_close(loss, sum(losses))
    assert error(found, expected) < 1e-12


@pytest.mark.slow
def test_a_per_sample_loss_is_accumulated_exactly(tmp_path: Path) -> None:
    digits = ["task=classification", "data=digits", "model=mlp", "model.dim=8", "trainer=cpu"]
    short = ["trainer.max_steps=4", "trainer.enable_progress_bar=false", f"out={tmp_path}"]
    method = ["method=naive_accumulation", "method.naive_accumulation.chunk_size=5"]
    weights = []
    for extra in ([], method):
        config = spec_of([*digits, *short, "threads=1", *extra])
        summary = execute(config)
        assert summary.status == "finished", summary.error
        state = torch.load(Run(config).checkpoints()[0], weights_only=True)["state_dict"]
        weights.append({name: value for name, value in state.items() if "model" in name})
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-5, rtol=1e-4)


def test_refuses_empty_chunks() -> None:
    with pytest.raises(ValueError, match="chunk_size must be at least 1, not 0"):
        NaiveAccumulation(0)
