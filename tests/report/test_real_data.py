"""Experiments on data that are not shipped: what is kept of them, and how a card shows it."""

import json
import math
from pathlib import Path

import pytest

from suexp.config.yaml_file import load_yaml
from suexp.report.pages import html_report, load_results, markdown_report
from suexp.store.numbers import dumps
from tests.report.test_pages import example, script

ROOT = Path(__file__).parents[2]


def test_a_claim_is_kept_where_its_arms_ran(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = script("real_data", monkeypatch)
    rows = [{"sentence": f"{'ab' * (i % 2 + 1)} {i}", "label": i % 2} for i in range(24)]
    (tmp_path / "apps.json").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    few = ["trainer.max_steps=1", "trainer.val_check_interval=1", "seeds=[0]"]
    entry = {
        "title": "Apps",
        "source": "somewhere",
        "experiment": [
            "experiment=tvd_iflytek",
            "data.train=DATA/apps.json",
            "data.validation=DATA/apps.json",
            "only=[ce,tailr_01]",
            *few,
        ],
    }
    made = real.verdicts(entry, tmp_path, str(tmp_path / "out"))
    assert [claim["id"] for claim in made["claims"]] == ["C3", "C3b", "C4"]
    assert made["seeds"] == "0"
    assert made["wall_seconds"] > 0
    begin = "suexp --config-dir=scripts/real_data experiment=tvd_iflytek data.train=DATA/apps.json"
    assert made["command"].startswith(begin)


def test_verdicts_on_real_data_join_the_card(tmp_path: Path) -> None:
    results = example(False)
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    claim = {**results["claims"][0], "text": "It is better | there."}
    made = {
        "title": "Apps",
        "source": "[CLUE](https://clue.example/few), 3,024 of them",
        "command": "suexp experiment=tvd_iflytek",
        "claims": [claim],
        "seeds": "0, 1, 2",
        "wall_seconds": 61.2,
        "commit": "0123456789abcdef",
    }
    (tmp_path / "real_data.json").write_text(json.dumps([made]), encoding="utf-8")
    found = load_results(tmp_path)
    card = markdown_report(found)
    _, section = card.split("## On data that is not shipped\n")
    line = (
        "- Apps ([CLUE](https://clue.example/few), 3,024 of them) (seeds 0, 1, 2, 1 min 1 s, commit"
    )
    assert section.strip().startswith(f"{line} `0123456789ab`)\n\n      suexp experiment=tvd")
    row = section.strip().splitlines()[-1]
    assert row.startswith(r"| It is better \| there. | ")
    assert row.endswith("verified |")
    page = html_report(found, tmp_path)
    assert "It is better | there. <span" in page


def test_its_infinite_numbers_are_read_as_those_of_the_results(tmp_path: Path) -> None:
    results = example(False)
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    claim = {**results["claims"][0], "left": math.inf, "per_seed": [math.inf, 1.0]}
    made = {
        "title": "Apps",
        "source": "somewhere",
        "command": "suexp experiment=tvd_iflytek",
        "claims": [claim],
        "seeds": "0, 1",
        "wall_seconds": 1.0,
        "commit": "0123456789abcdef",
    }
    (tmp_path / "real_data.json").write_text(dumps([made]), encoding="utf-8")
    assert '"left": "inf"' in (tmp_path / "real_data.json").read_text()
    (entry,) = load_results(tmp_path)["real_data"]
    assert entry["claims"][0]["left"] == math.inf
    assert entry["claims"][0]["per_seed"] == [math.inf, 1.0]


def test_every_experiment_that_is_named_is_there() -> None:
    entries = load_yaml(ROOT / "scripts" / "real_data.yaml")
    named = {
        item.removeprefix("experiment=")
        for slug, runs in entries.items()
        if slug != "let"
        for run in runs
        for item in run.get("experiment", ())
        if item.startswith("experiment=")
    }
    own = {path.stem for path in (ROOT / "scripts" / "real_data" / "experiment").glob("*.yaml")}
    shipped = {path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
    assert named <= own | shipped
    assert own <= named
