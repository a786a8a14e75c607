from pathlib import Path

import pytest

from suexp.job.run import execute
from suexp.launch.spec import spec_of
from tests.support.tiny import tiny, unchecked

DIGITS = [
    "callback=logit_argmax",
    "task=classification",
    "data=digits",
    "data.num_train=300",
    "data.num_test=1000",
    "model=mlp",
    "model.dim=8",
    "trainer=cpu",
    "trainer.max_steps=2",
    "trainer.val_check_interval=2",
    "trainer.enable_progress_bar=false",
    "threads=1",
]


@pytest.mark.parametrize("normalizer", ["softmax", "taylor"])
def test_the_largest_logit_is_the_most_probable_class_of_a_softmax(
    normalizer: str, tmp_path: Path
) -> None:
    summary = execute(spec_of([*DIGITS, f"normalizer={normalizer}", f"out={tmp_path}"]))
    assert summary.status == "finished", summary.error
    metrics = summary.metrics
    for split in ("val", "test"):
        assert 0 <= metrics[f"{split}/negative_share"] <= 1
        if normalizer == "softmax":
            expected = pytest.approx(metrics[f"{split}/accuracy"])
            assert metrics[f"{split}/accuracy_by_logit"] == expected


def test_other_tasks_have_no_class_a_row(tmp_path: Path) -> None:
    summary = execute(unchecked(tiny(tmp_path), "logit_argmax"))
    assert "use task=classification" in summary.error
