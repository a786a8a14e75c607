"""The right rule is exact, the wrong ones are as wrong as they were measured to be."""

from pathlib import Path

import pytest
import torch

from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.task.enlargement_error import EnlargementError, network

pytestmark = pytest.mark.xdist_group("enlargement_error")  # one worker makes what its tests share

SMALL = ("data.num_samples=2", "data.batch_size=1", "task.factors=[2]", "task.activations=[gelu]")


@pytest.fixture(scope="module")
def metrics() -> dict[str, float]:
    task = EnlargementError(factors=[2, 3], activations=["gelu", "relu"])
    return task.summarise(task.draw(1, task.generator(0)))


@pytest.mark.slow
def test_every_cell_is_lossless(metrics: dict[str, float]) -> None:
    assert 0 < metrics["max_logit_difference"] <= 1e-12
    assert metrics["difference_pre_right"] <= 1e-12


# Measured in prototypes: .20-1.2, .66-2.0, .48-.50 and 5e-5 to 1e-3, norms before and after.
RANGES = {
    "no_root": (0.1, 2.5),
    "tiled": (0.3, 6.0),
    "relu_rule": (0.1, 1.0),
    "same_epsilon": (1e-5, 5e-3),
}


@pytest.mark.slow
@pytest.mark.parametrize("order", ["pre", "post"])
@pytest.mark.parametrize("variant", RANGES)
def test_wrong_rules(metrics: dict[str, float], variant: str, order: str) -> None:
    low, high = RANGES[variant]
    assert low < metrics[f"difference_{order}_{variant}"] < high


@pytest.mark.slow
@pytest.mark.parametrize(
    ("d", "pairs", "single"), [(16, 0.40, 0.63), (32, 0.33, 0.58), (64, 0.28, 0.56)]
)
def test_rotary_scores(metrics: dict[str, float], d: int, pairs: float, single: float) -> None:
    assert metrics[f"rope_error_d{d}_pairs"] == pytest.approx(pairs, abs=0.02)
    assert metrics[f"rope_error_d{d}_single"] == pytest.approx(single, abs=0.02)
    assert metrics[f"rope_error_d{d}_repeat"] < 1e-14


def test_logits_of_the_networks_have_a_deviation_of_about_1() -> None:
    torch.manual_seed(0)
    for order in ("pre", "post"):
        logits = network(32, order, "layer", "gelu")(torch.randint(96, (4, 32)))
        assert 0.7 < logits.std() < 1.4


@pytest.mark.slow
def test_runs_and_records_rows(tmp_path: Path) -> None:
    overrides = ["task=enlargement_error", *SMALL, f"out={tmp_path}", "trainer=cpu"]
    config = spec_of([*overrides, "trainer.enable_progress_bar=false", "threads=1"])
    summary = execute(config)
    assert summary.status == "finished", summary.error
    tables = Run(config).tables()
    assert len(tables["cells"]) == 4
    assert len(tables["variants"]) == 10
    assert {row["distance"] for row in tables["rope"]} == set(range(64))
    worst = max(row["difference"] for row in tables["cells"])
    assert summary.metrics["test/max_logit_difference"] == worst


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factors": [1]}, "factors must be at least 2"),
        ({"dim": 30}, "dim a multiple of 4"),
        ({"head_dims": [15]}, "head_dims must be even"),
        ({"pairs": 0}, "pairs at least 1"),
    ],
)
def test_refuses_bad_sizes(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EnlargementError(**arguments)  # type: ignore[arg-type]
