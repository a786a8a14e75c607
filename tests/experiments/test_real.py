"""Arms at paper scale, cut short, on real files beside the repository."""

from pathlib import Path

import pytest

from suexp.experiment.plan import plan
from suexp.job.run import execute
from suexp.launch.spec import spec_of

ARMS = [("mitchell_multiplication", "mitchell"), ("heat_equation_ssl", "heat")]
SHORT = ["trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.enable_progress_bar=false"]


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "arm"), ARMS)
def test_an_arm_reads_the_files_that_paper_scale_names(
    experiment: str, arm: str, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shared_data)
    (item,) = plan([f"experiment={experiment}", "scale=paper", f"only=[{arm}]"])
    overrides = [
        *item.runs()[0].overrides,
        *SHORT,
        *("data.batch_size=8", "data.eval_batch_size=8", "trainer.limit_val_batches=1"),
        f"out={tmp_path}",
        "trainer=cpu",
    ]
    summary = execute(spec_of(overrides))
    assert (summary.error, summary.status) == (None, "finished")
    assert 0 <= summary.metrics["val/loss"] < 10
