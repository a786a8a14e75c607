"""A session of somebody with an idea: a class, its contract, a run, an arm beside recorded ones."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hydra_plugins.suexp_launcher.local_launcher import LocalLauncher
from suexp.config.hydra_internals import loader
from suexp.experiment.conduct import conduct
from suexp.launch.spec import spec_of
from tests.support.tiny import forget_code, forget_compositions, tiny

OWN = ("attention=cosine", "allow_targets=my_conf")


@pytest.fixture
def place(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that Python searches."""
    monkeypatch.syspath_prepend(str(in_tmp))
    yield in_tmp
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_conf"]:
        del sys.modules[name]
    forget_code()
    forget_compositions()


@pytest.mark.slow
def test_from_an_idea_to_the_site(
    place: Path, call: Callable[..., tuple[int, str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("new", "attention", "cosine")[0] == 0
    forget_code()
    forget_compositions()
    code, out, _ = call("check", "--contract", "--config-dir", "my_conf", *OWN)
    assert code == 0
    assert out.endswith("All that is asked is kept.\n")

    from suexp.job.run import execute

    spec = spec_of(tiny(place / "outputs", *OWN, "trainer.max_steps=2"), "my_conf")
    assert execute(spec).finished

    words = ["experiment=attention_matrix", "scale=smoke", "only=[softmax]", "add=mine"]
    words += ["like=softmax", *OWN, "attention.scale=8.0", f"out={place / 'outputs'}"]
    with loader("my_conf"):
        assert conduct(words, LocalLauncher(jobs=0)) == 0
    said = capsys.readouterr()
    assert "attention_matrix: 0 of 1 runs beside mine are the record's; code," in said.err
    assert "difference to softmax over the same seeds" in " ".join(said.out.split())
    (folder,) = (place / "outputs" / "attention_matrix").iterdir()
    assert folder.name.startswith("smoke,add=mine-")
    assert len(folder.name) == len("smoke,add=mine-12345678")
    results = json.loads((folder / "results.json").read_text())
    assert results["added"] == "mine"
    assert list(results["arms"]) == ["softmax", "mine"]
    assert {run["arm"] for run in results["runs"] if run["status"] == "finished"} == {
        "softmax",
        "mine",
    }
    assert "attention=cosine" in results["arms"]["mine"]
    assert "attention=softmax" not in results["arms"]["mine"]

    code, out, _ = call("report", "--into", "site", "--out", "outputs")
    assert code == 0
    page = place / "site" / f"attention_matrix+{folder.name.partition(',add=')[2]}.html"
    assert "with mine" in page.read_text()
    assert "with mine" in (place / "site" / "index.html").read_text()
