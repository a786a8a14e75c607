"""What a plain sweep leaves: a table with the keys that vary, and a report."""

import json
from pathlib import Path

import pytest

from hydra_plugins.suexp_launcher.local_launcher import LocalLauncher
from suexp.config.hydra_internals import loader
from suexp.experiment.conduct import conduct
from suexp.experiment.terminal import varying
from tests.support.tiny import tiny


def test_only_keys_that_vary() -> None:
    runs = [("a=1", "b=2", "seed=0"), ("a=1", "b=3", "seed=0"), ("a=1", "seed=0")]
    settings, keys = varying(runs)
    assert keys == ["b"]
    assert settings[1] == {"a": "1", "b": "3", "seed": "0"}


@pytest.mark.slow
def test_a_sweep_has_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = tiny(tmp_path, "trainer.max_steps=2", "optimizer=adamw,lion", "seed=0,1")
    with loader(None):
        assert conduct(words, LocalLauncher(jobs=0)) == 0
    (folder,) = (tmp_path / "sweeps").iterdir()
    assert folder.name.startswith("optimizer-")
    assert f"report: {folder / 'report.html'}" in capsys.readouterr().out
    results = json.loads((folder / "results.json").read_text())
    assert results["arms"] == {
        "optimizer=adamw": ["optimizer=adamw"],
        "optimizer=lion": ["optimizer=lion"],
    }
    assert [(run["arm"], run["seed"]) for run in results["runs"]] == [
        ("optimizer=adamw", 0),
        ("optimizer=adamw", 1),
        ("optimizer=lion", 0),
        ("optimizer=lion", 1),
    ]
    assert results["command"].startswith("suexp -m ")
    page = (folder / "report.html").read_text()
    assert "A sweep of optimizer" in page
    assert page.count("<svg") >= 2
