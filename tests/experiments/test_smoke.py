"""Every experiment runs whole at smoke scale, and its report says what came out."""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suexp.folders import conf_dir
from tests.support.processes import one_apart

EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))


def conduct(arguments: list[str]) -> int:
    """Conduct an experiment as `suexp` does; a warning is an error here, too."""
    from hydra_plugins.suexp_launcher.local_launcher import LocalLauncher
    from suexp.experiment.conduct import conduct

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # An arm does so.
        warnings.filterwarnings("ignore", "method=grad_cache with replay_rng=false")
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")  # Lightning's own
        return conduct(arguments, LocalLauncher(0))


@pytest.fixture(scope="module")
def call() -> Iterator[Callable[..., int]]:
    """What the first experiment imports and composes, the others find."""
    with one_apart() as call:
        yield call


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_runs_whole_at_smoke_scale(
    experiment: str, call: Callable[..., int], tmp_path: Path
) -> None:
    arguments = [
        f"experiment={experiment}",
        "scale=smoke",
        f"out={tmp_path}",
        "trainer.enable_progress_bar=false",
    ]
    unfinished = call(conduct, arguments)
    folder = tmp_path / experiment / "smoke"
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert [run["error"] for run in results["runs"] if run["status"] != "finished"] == []
    assert unfinished == 0
    assert {run["arm"] for run in results["runs"]} == set(results["arms"])
    assert {claim["verdict"] for claim in results["claims"]} == {"undecided"}
    report = (folder / "report.md").read_text(encoding="utf-8")
    for claim in results["claims"]:
        name = claim["id"].replace("_", r"\_")
        assert f"| {name} | " in report
    for figure in results["figures"]:
        assert (folder / figure["file"]).stat().st_size > 1000
