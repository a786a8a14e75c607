"""Every experiment runs whole at smoke scale, and its report says what came out."""

import json
from pathlib import Path

import pytest

from hydra_plugins.suexp_launcher.local_launcher import LocalLauncher
from suexp.catalogue import conf_dir
from suexp.runner.conduct import conduct

EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:method=grad_cache with replay_rng=false")  # an arm does so
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_runs_whole_at_smoke_scale(experiment: str, tmp_path: Path) -> None:
    arguments = [
        f"experiment={experiment}",
        "scale=smoke",
        f"out={tmp_path}",
        "trainer.enable_progress_bar=false",
    ]
    assert conduct(arguments, LocalLauncher(0)) == 0
    folder = tmp_path / experiment / "smoke"
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert {run["status"] for run in results["runs"]} == {"finished"}
    assert {run["arm"] for run in results["runs"]} == set(results["arms"])
    assert {claim["verdict"] for claim in results["claims"]} == {"undecided"}
    report = (folder / "report.md").read_text(encoding="utf-8")
    for claim in results["claims"]:
        name = claim["id"].replace("_", r"\_")
        assert f"| {name} | " in report
    for figure in results["figures"]:
        assert (folder / figure["file"]).stat().st_size > 1000
