"""Errors of attention under noise: the delta method, and where it does not hold."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from suexp.attention.noisy_softmax import noisy_weights
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.task.attention_noise import AttentionNoise

Estimate = Callable[..., dict[str, float]]


@pytest.mark.slow
def test_the_delta_method_holds_for_many_keys(estimate: Estimate) -> None:
    """The spec's prototype had a ratio of 0.956 at 256 keys and 0.975 at 1024."""
    metrics = estimate(AttentionNoise(value_slope=0.0, seq_lens=[256, 1024]), 2000, 500)
    assert metrics["test/mse_ratio_n256"] == pytest.approx(1, abs=0.05)
    assert metrics["test/mse_ratio_n1024"] == pytest.approx(1, abs=0.03)
    # n_eff is about n exp(-sigma^2).
    assert metrics["test/effective_n1024"] == pytest.approx(1024 / math.e, rel=0.05)


@pytest.mark.slow
def test_the_error_falls_as_the_square_root_of_the_keys(estimate: Estimate) -> None:
    task = AttentionNoise(seq_lens=[64, 256, 1024, 4096])
    estimate(task, 200, 100)
    rows = task.tables["errors"]
    logs = [[math.log(row[name]) for row in rows] for name in ("n", "rel_error")]
    assert -0.55 < np.polyfit(*logs, 1)[0] < -0.4


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_a_clean_denominator_has_the_error_of_its_formula(law: Any, estimate: Estimate) -> None:
    task = AttentionNoise(law, denominator="clean", value_slope=0.0, seq_lens=[64, 1024])
    metrics = estimate(task, 2000, 500)
    assert metrics["test/mse_ratio_n64"] == pytest.approx(1, abs=0.1)
    assert metrics["test/mse_ratio_n1024"] == pytest.approx(1, abs=0.1)


def test_constant_noise_does_nothing_and_proportional_noise_does_not_vanish(
    estimate: Estimate,
) -> None:
    constant = estimate(AttentionNoise("constant", 1.0, seq_lens=[64]), 100, 100)
    assert constant["test/rel_error_n64"] < 1e-12
    assert "test/mse_ratio_n64" not in constant
    heat = estimate(AttentionNoise("proportional", 1.0, seq_lens=[4096]), 100, 100)
    assert heat["test/rel_error_n4096"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("law", ["laplace", "cauchy"])
def test_heavy_tails_have_no_expected_error(law: Any, estimate: Estimate) -> None:
    metrics = estimate(AttentionNoise(law, 2.0, seq_lens=[64, 1024]), 200, 100)
    assert "test/mse_ratio_n64" not in metrics
    assert metrics["test/rel_error_n1024"] > 0.5


def test_a_single_key_knows_no_noise(estimate: Estimate) -> None:
    metrics = estimate(AttentionNoise(noise_std=3.0, seq_lens=[1]), 50, 50)
    assert metrics["test/rel_error_n1"] < 1e-12


def test_chunks_bound_memory_and_do_not_change_the_law(estimate: Estimate) -> None:
    whole = estimate(AttentionNoise(seq_lens=[64]), 2000, 1000)
    parts = estimate(AttentionNoise(seq_lens=[64], chunk=5000), 2000, 1000)
    name = "test/rel_error_n64"
    assert whole[name] == pytest.approx(parts[name], rel=0.1)


def test_rows_of_noisy_weights() -> None:
    scores, noise = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(noisy_weights(scores, noise), (scores + noise).softmax(-1))
    clean = noisy_weights(scores, noise, denominator="clean")
    torch.testing.assert_close(clean, (scores + noise).exp() / scores.exp().sum(-1, keepdim=True))


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        AttentionNoise(seq_lens=[0])
    with pytest.raises(ValueError, match="score_std must be above 0"):
        AttentionNoise(score_std=0.0)
    with pytest.raises(ValueError, match="noise_std must be at least 0"):
        AttentionNoise(noise_std=-1.0)
    with pytest.raises(UserError, match="data=counter"):
        resolve(["task=attention_noise", "data=pydoc"])
