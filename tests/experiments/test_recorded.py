"""The recorded runs are whole, clean, and what the README and the cards say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from suexp.config.compose import resolve
from suexp.experiment.plan import plan
from suexp.folders import conf_dir, experiments_dir
from suexp.judge.claims import VERDICTS

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))


def same(experiment: str, recorded: list[str], stated: list[str]) -> bool:
    """Tell whether two lists of overrides mean the same run."""
    one, other = (resolve([f"experiment={experiment}", *arm]) for arm in (recorded, stated))
    return one == other


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_recorded_run_is_what_the_config_states(experiment: str) -> None:
    path = experiments_dir() / experiment / "results.json"
    if not path.is_file():
        pytest.skip(f"experiment={experiment} has not been recorded yet")
    results = json.loads(path.read_text("utf-8"))
    (item,) = plan([f"experiment={experiment}"])
    assert item.header is not None
    assert results["scale"] == "laptop"
    assert results["dirty"] is False
    assert list(results["arms"]) == list(item.header["arms"])
    for arm, recorded in results["arms"].items():
        stated = item.header["arms"][arm]
        # 1e-2 was recorded, 0.01 is stated.
        assert recorded == stated or same(experiment, recorded, stated), arm
    assert results.get("seeding", ", ".join(map(str, results["seeds"]))) == str(item.seeding)
    assert {c["id"]: c["test"] for c in results["claims"]} == {
        name: claim["test"] for name, claim in item.header["claims"].items()
    }
    verdicts = {claim["verdict"] for claim in results["claims"]}
    assert verdicts <= {*VERDICTS} - {"not evaluated"}
    assert {run["status"] for run in results["runs"]} == {"finished"}
    assert len({run["commit"] for run in results["runs"]}) == 1


@pytest.mark.slow
def test_what_is_generated_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
