import math
from typing import Any

import pytest
import torch
from scipy.stats import entropy as scipys

from suexp.task.softmax_entropy import SoftmaxEntropy, entropy_of, jacobian_norm, spherical_rate

pytestmark = pytest.mark.xdist_group("softmax_entropy")  # one worker makes what its tests share


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def measured(**changes: Any) -> tuple[dict[str, float], SoftmaxEntropy]:
    task = SoftmaxEntropy(**changes)
    drawn = task.draw(400, generator())
    return task.summarise(task.totals | drawn | {"draws": torch.tensor(400)}), task


@pytest.fixture(scope="module")
def metrics() -> dict[str, float]:
    return measured()[0]


@pytest.mark.slow
def test_concentrated_attention_dilutes_unless_its_scale_grows(metrics: dict[str, float]) -> None:
    """The figures of the spec's prototype, of other draws."""
    for family, constant, square_root, log in (
        ("sphere", 0.65, 0.38, 0.09),
        ("gaussian", 0.62, 0.35, 0.08),
    ):
        assert metrics[f"slope_{family}_constant"] == pytest.approx(constant, abs=0.04)
        assert metrics[f"slope_{family}_sqrt_log"] == pytest.approx(square_root, abs=0.04)
        assert metrics[f"slope_{family}_log"] == pytest.approx(log, abs=0.04)


@pytest.mark.slow
def test_flat_attention_dilutes_under_every_scale(metrics: dict[str, float]) -> None:
    assert metrics["slope_sphere_untrained_constant"] == pytest.approx(0.99, abs=0.02)
    assert metrics["slope_sphere_untrained_log"] == pytest.approx(0.85, abs=0.02)
    assert metrics["slope_uniform_constant"] == pytest.approx(1.0, abs=0.01)
    assert metrics["slope_uniform_log"] == pytest.approx(0.85, abs=0.02)
    assert metrics["slope_needle_constant"] == pytest.approx(1.71, abs=0.02)
    assert metrics["slope_needle_log"] == pytest.approx(0.67, abs=0.02)


@pytest.mark.slow
def test_the_natural_logarithm_is_too_sharp(metrics: dict[str, float]) -> None:
    assert metrics["jacobian_natural_log"] < 0.3 * metrics["jacobian_log"]
    assert metrics["jacobian_log"] == pytest.approx(0.26, abs=0.02)
    assert metrics["jacobian_constant"] == pytest.approx(0.24, abs=0.02)


@pytest.mark.slow
def test_the_bound_holds_for_all_scores(metrics: dict[str, float]) -> None:
    assert metrics["bound_violations"] == 0


def test_the_sphere_loses_up_to_a_quarter_of_its_strength() -> None:
    assert spherical_rate(64, 1.0) == pytest.approx(0.2418, abs=1e-4)
    assert spherical_rate(64, 1.2) == pytest.approx(0.24595, abs=1e-4)  # about the greatest
    assert spherical_rate(64, 1 / 8) == pytest.approx(0.0611, abs=1e-4)  # untrained attention


def test_entropy_equals_scipys_and_equal_scores_give_log_n() -> None:
    z = 5 * torch.randn(7, 30, dtype=torch.float64, generator=generator())
    expected = torch.from_numpy(scipys(z.softmax(-1).numpy(), axis=-1))
    torch.testing.assert_close(entropy_of(z), expected)
    flat = entropy_of(torch.full((1, 30), 3.0, dtype=torch.float64))
    assert float(flat) == pytest.approx(math.log(30))


def test_the_jacobians_norm_is_that_of_the_matrix() -> None:
    z = 2 * torch.randn(3, 9, dtype=torch.float64, generator=generator())
    p = z.softmax(-1)
    matrix = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    torch.testing.assert_close(jacobian_norm(z), torch.linalg.matrix_norm(matrix))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": [64]}, "two lengths of 2 or more"),
        ({"dim": 2}, "dim of 3 or more"),
        ({"families": ["noise"]}, "families are sphere"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SoftmaxEntropy(**changes)
