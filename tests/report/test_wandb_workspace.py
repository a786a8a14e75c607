import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb

from suexp.cli import main
from suexp.folders import experiments_dir
from suexp.report.pages import load_results
from suexp.report.verdicts import judged
from suexp.report.view import COSTS
from suexp.report.wandb_workspace import define

pytest.importorskip("wandb_workspaces")


@pytest.fixture(scope="module")
def lion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded results of an experiment, with their definition."""
    folder = tmp_path_factory.mktemp("definition") / "lion"
    shutil.copytree(experiments_dir() / "lion", folder)
    assert main(["report", str(folder), "--wandb"]) == 0
    return folder


def blocks(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "wandb.json").read_text())["spec"]["blocks"]


def grids(folder: Path) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The run set and the panels of each grid."""
    found = [block["metadata"] for block in blocks(folder) if block["type"] == "panel-grid"]
    return [(item["runSets"][0], item["panelBankSectionConfig"]["panels"]) for item in found]


def ids(folder: Path, *arms: str) -> list[str]:
    runs = json.loads((folder / "results.json").read_text())["runs"]
    return [run["id"] for run in runs if not arms or run["arm"] in arms]


def test_the_report_states_post_claims_and_verdicts(lion: Path) -> None:
    whole = json.loads((lion / "wandb.json").read_text())
    assert whole["displayName"] == "lion (laptop)"
    assert whole["project"]["name"] == "suexp"
    head, claims = (b["content"] for b in blocks(lion) if b["type"] == "markdown-block")
    assert "(https://kexue.fm/archives/9473)" in head
    results = json.loads((lion / "results.json").read_text())
    assert results["command"].startswith("suexp experiment=lion")
    assert f"`{results['command']}`" in head
    cells = [row.strip("| ").split(" | ") for row in claims.splitlines()[2:]]
    assert [(row[1], row[2], row[4]) for row in cells] == [
        (claim["id"], claim["text"], claim["verdict"]) for claim in results["claims"]
    ]
    told = judged(load_results(lion)["claims"][1])  # as everywhere
    assert cells[1][3] == f"{told.estimate} ({told.allowed})"
    assert cells[1][3].startswith("lion - adamw = ")
    headings = [b["children"][0]["text"] for b in blocks(lion) if b["type"] == "heading"]
    assert headings == ["Claims", "Curves by arm", "Final metrics", "Costs", "Figures"]


def test_its_curves_are_the_figures_over_training_by_arm(lion: Path) -> None:
    shown = [(runs, panel) for runs, panels in grids(lion) for panel in panels]
    (curve,) = [item for item in shown if item[1]["viewType"] == "Run History Line Plot"]
    runs, panel = curve
    config = panel["config"]
    assert config["metrics"] == ["val/loss"]
    assert config["chartTitle"] == "Validation loss of the main arms (batch 32)."
    assert (config["xAxis"], config["groupBy"], config["aggregate"]) == ("_step", "jobType", True)
    assert (config["groupAgg"], config["groupArea"]) == ("mean", "minmax")
    (chosen,) = runs["filters"]["filters"]
    assert (chosen["key"], chosen["op"]) == ({"section": "run", "name": "name"}, "IN")
    main_arms = ("adamw", "lion", "lion_tenth", "lion_adamw_lr", "signum", "tiger")
    assert chosen["value"] == ids(lion, *main_arms)


def test_without_such_figures_the_claims_metrics_are_its_curves() -> None:
    results = json.loads((experiments_dir() / "lion" / "results.json").read_text())
    spec = define(results, {}, "suexp", None)._to_model().spec
    panels = [
        panel
        for block in spec.blocks
        if block.type == "panel-grid"
        for panel in block.metadata.panel_bank_section_config.panels
    ]
    curves = [panel.config for panel in panels if panel.view_type == "Run History Line Plot"]
    assert [config.metrics for config in curves] == [["val/loss"], ["val/noise_rise"]]


def test_its_bars_are_the_claims_metrics_and_the_costs(lion: Path) -> None:
    bars = [
        panel["config"]
        for _, panels in grids(lion)
        for panel in panels
        if panel["viewType"] == "Bar Chart"
    ]
    costs = {*json.loads((lion / "results.json").read_text())["runs"][0]["cost"]}
    assert [config["metrics"] for config in bars] == [
        ["optimizer/state_bytes"],
        ["val/loss"],
        ["val/noise_rise"],
        *([f"cost/{name}"] for name in COSTS if name in costs),
    ]
    assert {"parameters", "wall_seconds"} <= costs
    assert {config["groupBy"] for config in bars} == {"jobType"}


def test_its_figures_are_those_of_the_report_run(lion: Path) -> None:
    runs, (browser,) = grids(lion)[-1]
    assert browser["config"]["mediaKeys"] == [
        f"figures/{name}" for name in ("curves", "learning_rates", "batch_size", "update_size")
    ]
    wanted = [(item["key"]["name"], item["value"]) for item in runs["filters"]["filters"]]
    assert wanted == [("group", "lion"), ("jobType", "report")]


class Server:
    """Stands for wandb's client; keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.default_entity = "team"
        self.client = SimpleNamespace(app_url="https://wandb.example")
        self._service_api = self
        self.app_url = "https://wandb.example"

    def projects(self, entity: str) -> list[Any]:
        return [SimpleNamespace(name="suexp")]

    def execute_graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        self.sent.append(variables)
        project = {"name": variables["projectName"], "entityName": variables["entityName"]}
        view = {"id": "VmlldzoxMjM0", "spec": variables["spec"], "project": project}
        return {"upsertView": {"view": view | {"displayName": variables["displayName"]}}}


def test_publishing_sends_it_and_the_next_time_replaces_it(
    lion: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    server = Server()
    monkeypatch.setattr(wandb, "Api", lambda: server)
    monkeypatch.setattr(wandb, "login", lambda **_: True)
    for _ in range(2):
        assert main(["report", str(lion), "--publish"]) == 0
    first, second = server.sent
    assert (first["id"], second["id"]) == (None, "VmlldzoxMjM0")
    assert (first["entityName"], first["projectName"]) == ("team", "suexp")
    assert first["displayName"] == "lion (laptop)"
    texts = [b.get("content") for b in json.loads(first["spec"])["blocks"]]
    assert texts == [b.get("content") for b in blocks(lion)]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("published: https://wandb.example/team/suexp/reports/")


def test_publishing_without_a_key_is_one_line(
    lion: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(wandb, "login", lambda **_: False)
    assert main(["report", str(lion), "--publish"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("suexp: report --publish needs a key (WANDB_API_KEY or `wandb login`);")
