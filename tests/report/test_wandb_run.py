import json
from pathlib import Path
from typing import Any

import pytest

from hydra_plugins.suexp_launcher.local_launcher import LocalLauncher
from suexp.experiment.conduct import conduct
from suexp.folders import experiments_dir
from suexp.report.wandb_run import arms_table, claims_table, identity, record
from tests.logger.offline import Offline, offline

pytestmark = pytest.mark.xdist_group("wandb_run")  # one worker makes what its tests share


def lion() -> dict[str, Any]:
    return json.loads((experiments_dir() / "lion" / "results.json").read_text())


def test_the_claims_table_has_verdict_and_interval() -> None:
    results = lion()
    columns, rows = claims_table(results)
    assert [row[0] for row in rows] == [claim["id"] for claim in results["claims"]]
    claim = results["claims"][1]
    assert dict(zip(columns, rows[1], strict=True)) == {
        "claim": "C2",
        "text": "Quality on par with AdamW (within 0.03 nats).",
        "test": "val/loss[lion] <= val/loss[adamw] + 0.03",
        "verdict": claim["verdict"],
        "estimate": claim["estimate"],
        "low": claim["interval"][0],
        "high": claim["interval"][1],
        "bound": claim.get("bound"),
        "judged": claim.get("judged"),
        "seeds": 3,
        "reason": None,
    }


def test_the_arms_table_has_means_of_metrics_and_costs() -> None:
    results = lion()
    columns, rows = arms_table(results)
    table = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
    assert list(table) == list(results["arms"])
    losses = [run["metrics"]["val/loss"] for run in results["runs"] if run["arm"] == "lion"]
    assert table["lion"]["seeds"] == len(losses) == 3
    assert table["lion"]["val/loss"] == pytest.approx(sum(losses) / 3)
    assert table["lion"]["cost/parameters"] == 247008
    for run in results["runs"]:
        run["status"] = "failed" if run["arm"] == "lion" else run["status"]
    columns, rows = arms_table(results)
    table = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
    assert table["lion"]["seeds"] == 0
    assert table["lion"]["val/loss"] is None
    assert table["adamw"]["val/loss"] > 0
    results["runs"] = [run | {"status": "failed"} for run in results["runs"]]
    columns, rows = arms_table(results)
    assert columns == ["arm", "seeds"]
    assert rows[0] == ["adamw", 0]


@pytest.fixture(scope="module")
def sector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment of two runs with logger=wandb, recorded twice; its folder."""
    out = tmp_path_factory.mktemp("sector")
    arguments = ["experiment=points_in_sector", "scale=smoke", "logger=wandb", f"out={out}"]
    arguments += ["only=[hemisphere3,hemisphere3_wrong]", "trainer.enable_progress_bar=false"]
    assert conduct(arguments, LocalLauncher(0)) == 0
    (found,) = out.glob("points_in_sector/*")
    results = json.loads((found / "results.json").read_text())
    (next(found.glob("wandb/offline-run-*")) / "old").touch()
    record(results, found, {"project": "suexp", "entity": None, "mode": "offline"})
    assert not list(found.glob("wandb/offline-run-*/old"))
    return found


@pytest.fixture(scope="module")
def report(sector: Path) -> Offline:
    (found,) = offline(sector)  # the second in place of the first
    return found


@pytest.mark.slow
def test_an_experiment_ends_in_a_report_run(sector: Path, report: Offline) -> None:
    results = json.loads((sector / "results.json").read_text())
    run = report.run
    assert run["run_id"] == identity("points_in_sector", sector)
    assert (run["run_group"], run["job_type"]) == ("points_in_sector", "report")
    assert set(run["tags"]) == {"points_in_sector", "smoke"}
    assert report.config["command"] == results["command"]
    assert report.config["code"]["commit"] == results["commit"]
    verdicts = {f"claims/{claim['id']}": claim["verdict"] for claim in results["claims"]}
    assert verdicts
    assert verdicts.items() <= report.summary.items()
    assert report.exit_code == 0


@pytest.mark.slow
def test_the_report_run_holds_tables_and_figures(sector: Path, report: Offline) -> None:
    results = json.loads((sector / "results.json").read_text())
    (folder,) = sector.glob("wandb/offline-run-*")
    for name, expected in (("claims", claims_table(results)), ("arms", arms_table(results))):
        (file,) = folder.glob(f"files/media/table/{name}_*.json")
        table = json.loads(file.read_text())
        assert (table["columns"], table["data"]) == expected
        assert report.history[0][f"{name}._type"] == "table-file"
    drawn = [figure for figure in results["figures"] if figure["file"]]
    assert all(
        report.history[0][f"figures/{figure['name']}._type"] == "html-file" for figure in drawn
    )
    assert len(list(folder.glob("files/media/html/figures/*.html"))) == len(drawn)


@pytest.mark.slow
def test_runs_of_an_estimation_are_wandb_runs_too(sector: Path) -> None:
    results = json.loads((sector / "results.json").read_text())
    run = results["runs"][0]
    (found,) = offline(sector.parents[1] / "runs" / run["id"])
    assert found.run["display_name"] == "hemisphere3-0"
    assert found.run["job_type"] == "hemisphere3"
    assert run["metrics"].items() <= found.summary.items()
