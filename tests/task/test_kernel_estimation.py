import math

import numpy as np
import pytest
import torch

from suexp.attention.performer import features, projection
from suexp.task.kernel_estimation import KERNELS, KernelEstimation, relative_variance


def small(**changes):
    options = {"num_features": [16, 64], "norms": [0.5, 1.0], "sigmas": [0.3], "length": 16}
    options["pairs"] = 32
    return KernelEstimation(**{**options, **changes})


@pytest.mark.parametrize("kernel", KERNELS)
def test_variance_formulas(kernel):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 1, 4, dtype=torch.float64, generator=generator) * 0.4
    w = projection(400_000, 4, orthogonal=False, generator=generator, dtype=torch.float64)
    # One direction at a time: the features of W, not yet summed over its rows.
    parts = features(x, w, kernel) * features(y, w, kernel) * len(w)
    estimates = parts.view(-1, len(w)).sum(0) if kernel == "trigonometric" else parts.view(-1)
    if kernel == "hyperbolic":
        estimates = parts.view(2, -1).sum(0)
    ratio = estimates / torch.exp((x * y).sum())
    expected = relative_variance(kernel, x[0], y[0], 1)
    fourth = ((ratio - 1) ** 2).var().item()
    assert abs(ratio.mean().item() - 1) < 4 * math.sqrt(expected / len(ratio))
    assert abs(ratio.var().item() - expected.item()) < 4 * math.sqrt(fourth / len(ratio))


def test_exact_cases_have_no_variance():
    x = torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert relative_variance("positive", x, -x, 1).abs().max() == 0
    assert relative_variance("hyperbolic", x, -x, 1).abs().max() == 0
    assert relative_variance("trigonometric", x, x, 1).abs().max() == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_independent_directions_have_the_variance_of_theory(kernel, estimate):
    task = small(kernel=kernel, orthogonal=False, norms=[0.5])
    estimate(task, 400, 100)
    for row in task.tables["kernel"]:
        assert abs(row["mse"] - row["independent"]) < 5 * row["standard_error"]
        assert abs(row["bias"]) < 4 * row["bias_standard_error"]
        assert row["draws"] == 400 * 64 // row["m"]


def test_error_falls_as_one_over_the_square_root_of_m(estimate):
    task = small(orthogonal=False, num_features=[16, 32, 64, 128, 256], norms=[0.5])
    estimate(task, 100, 100)
    rows = task.tables["kernel"]
    slope = np.polyfit([math.log(r["m"]) for r in rows], [math.log(r["mse"]) for r in rows], 1)[0]
    assert slope == pytest.approx(-1, abs=0.05)


@pytest.mark.parametrize("kernel", KERNELS)
def test_orthogonal_directions_are_better_at_small_norms(kernel, estimate):
    orthogonal = estimate(small(kernel=kernel, norms=[0.5]), 300, 100)
    independent = estimate(small(kernel=kernel, norms=[0.5], orthogonal=False), 300, 100)
    for m in (16, 64):
        assert orthogonal[f"test/mse_r0.5_m{m}"] < 0.9 * independent[f"test/mse_r0.5_m{m}"]


def test_regularised_norms_are_biased_low(estimate):
    final = estimate(small(scaling=1, norms=[1.0, 1.5, 2.0], num_features=[64]), 300, 100)
    ratios = [1 + final[f"test/bias_r{r}_m64"] for r in ("1", "1.5", "2")]
    assert ratios == pytest.approx([0.95, 0.80, 0.55], abs=0.015)


@pytest.mark.slow
def test_positive_features_win_where_queries_and_keys_are_large_only(estimate):
    shape = {"num_features": [16], "norms": [0.5], "length": 64, "sigmas": [0.3, 0.5, 1.0]}
    errors = {}
    for kernel in KERNELS:
        final = estimate(KernelEstimation(kernel=kernel, **shape), 300, 100)
        errors[kernel] = [final[f"test/output_error_s{s}"] for s in ("0.3", "0.5", "1")]
    positive, hyperbolic, trigonometric = (errors[kernel] for kernel in KERNELS)
    assert positive == pytest.approx([0.09, 0.26, 1.1], rel=0.1)
    assert hyperbolic == pytest.approx([0.042, 0.21, 1.07], rel=0.1)
    assert trigonometric[:2] == pytest.approx([0.029, 0.17], rel=0.1)
    assert positive[2] < 0.1 * trigonometric[2]
    assert positive[0] > 2 * trigonometric[0]


def test_chunks_change_the_memory_only(estimate):
    final = estimate(small(chunk=3000, norms=[0.5]), 50)
    assert final["test/mse_r0.5_m16"] == pytest.approx(0.0346, rel=0.15)
    assert final["test/mse_r0.5_m64"] == pytest.approx(0.0088, rel=0.15)


def test_median_of_the_histogram(estimate):
    task = small(num_features=[16], norms=[0.5])
    estimate(task, 201, 201)
    again = small(num_features=[16], norms=[0.5])
    generator = again.generator(0)
    again.directions(201, 16, generator)
    again.normal(2, 201, 32, 16, generator=generator)
    exact = again.output_errors(0, 201, generator).median().item()
    assert task.final["test/output_error_s0.3"] == pytest.approx(exact, rel=0.012)


def test_matrix_rows_are_attention_weights(estimate):
    task = small()
    estimate(task, 10)
    for which in ("exact", "positive"):
        rows = [row for row in task.tables["matrix"] if row["which"] == which]
        assert len(rows) == 16 * 16
        assert sum(row["weight"] for row in rows if row["query"] == 3) == pytest.approx(1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kernel": "hyperbolic", "output_features": 5}, "positive multiple of 2"),
        ({"norms": [0.0]}, "must be above 0"),
    ],
)
def test_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        small(**wrong)


@pytest.mark.parametrize("wrong", [{"kernel": "relu"}, {"scaling": 2}])
def test_refuses_what_is_no_choice(wrong):
    with pytest.raises((ValueError, TypeError)):  # the annotation's check comes first in tests
        small(**wrong)
