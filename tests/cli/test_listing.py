"""`suexp list` and `suexp show`: what can be chosen, explained from the sources."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suexp.cli.showing import using
from suexp.config.catalogue import Catalogue
from suexp.report import latest

Call = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.usefixtures("tree")


def lines(text: str) -> list[list[str]]:
    """The cells of a plain table."""
    return [re.split(r"\s{2,}", line) for line in text.splitlines() if line]


def record(folder: Path, scale: str, created: str, *found: str, **more: Any) -> None:
    folder.mkdir(parents=True)
    claims = [{"id": f"C{i}", "verdict": verdict} for i, verdict in enumerate(found, 1)]
    results = {"scale": scale, "created": created, "claims": claims, **more}
    (folder / "results.json").write_text(json.dumps(results))


def test_the_groups(call: Call) -> None:
    code, out, err = call("list")
    assert (code, err) == (0, "")
    table = {line.split()[0]: line.split()[1:3] for line in out.split("\n\n")[0].splitlines()}
    assert table["attention"] == ["2", "softmax"]
    assert table["experiment"] == ["2", "-"]


def test_the_groups_as_json(call: Call) -> None:
    rows = json.loads(call("list", "--json")[1])
    assert {row["group"]: row["options"] for row in rows}["optimizer"] == ["adamw", "lion"]


def test_the_options_of_a_group(call: Call) -> None:
    code, out, _ = call("list", "attention")
    assert code == 0
    performer, softmax = out.splitlines()
    # Without a comment in the YAML the docstring's first line speaks.
    assert performer.startswith("performer  ")
    assert "Random features" in performer
    assert softmax.split() == ["softmax", "default", "The", "usual", "attention."]


def test_options_as_json(call: Call) -> None:
    rows = json.loads(call("list", "optimizer", "--json")[1])
    assert rows[0]["parameters"] == {"lr": 1e-3, "betas": [0.9, 0.99]}
    assert rows[1]["target"] == "tiny_parts.Lion"


def test_experiments_with_their_verdicts(call: Call, in_tmp: Path) -> None:
    recorded = in_tmp / "experiments" / "lion"
    runs = [{"id": i, "cost": {"wall_seconds": 45.0}} for i in ("a", "b", "a")]  # two arms share a
    record(recorded, "laptop", "2026-01-01", "reproduced", "inconclusive", "reproduced", runs=runs)
    out = call("list", "experiment")[1]
    lion, performer = out.splitlines()
    assert "2 reproduced, 1 inconclusive (laptop)" in lion
    assert lion.endswith("2 runs, 1 min 30 s")
    assert "not run yet" in performer
    row = json.loads(call("list", "experiment", "--json")[1])[0]
    assert row["verdicts"] == {"reproduced": 2, "inconclusive": 1}
    assert row["arms"] == ["adamw", "lion"]


def test_the_last_verdicts_are_the_newest_that_decide(in_tmp: Path) -> None:
    record(in_tmp / "experiments" / "lion", "laptop", "2026-01-01", "reproduced")
    record(in_tmp / "outputs/lion/smoke", "smoke", "2026-03-01", "undecided")
    record(in_tmp / "outputs/lion/laptop,optimizer.lr=1", "laptop", "2026-04-01", "inconclusive")
    assert latest.summary(latest.results_of("lion")) == "1 reproduced (laptop)"
    record(in_tmp / "outputs/lion/laptop", "laptop", "2026-02-01", "not reproduced")
    found = latest.results_of("lion")
    assert found is not None
    assert found["where"] == "outputs/lion/laptop"
    (in_tmp / "outputs/lion/laptop/results.json").write_text("{half a fi")
    assert latest.count(latest.results_of("lion")) == {"reproduced": 1}
    assert latest.results_of("performer") is None


def test_show_an_option_and_the_experiment_of_that_name(call: Call) -> None:
    code, out, _ = call("show", "performer")
    assert code == 0
    option, experiment = out.split("\nexperiment=performer\n")
    assert "tiny_parts.Performer" in option
    assert "Random features" in option
    assert ["num_features", "64", "int"] in lines(option)
    assert "https://kexue.fm/archives/7921" in option
    assert "https://arxiv.org/abs/2009.14794" in option
    assert "score_bias: it never forms the scores; use position=rope" in option
    assert "experiment=performer: not run yet" in option
    assert "suexp experiment=performer" in experiment


@pytest.mark.parametrize("name", ["attention/softmax", "attention=softmax", "softmax"])
def test_show_one_option(call: Call, name: str) -> None:
    code, out, _ = call("show", name)
    assert code == 0
    assert out.startswith("attention=softmax\ntiny_parts.Softmax\n")
    assert "$o = softmax(q k) v$." in out
    assert "\nparameters (attention.NAME=VALUE)\n" in out
    assert ["dropout", "0.0", "float", "probability of dropping a weight."] in lines(out)
    assert "config.yaml chooses it for attention" in out


def test_show_an_experiment(call: Call, in_tmp: Path) -> None:
    runs = [{"id": "a", "cost": {"wall_seconds": 45.0}}, {"id": "b", "cost": {}}]
    record(in_tmp / "experiments" / "lion", "laptop", "2026-01-01", "not reproduced", runs=runs)
    out = call("show", "experiment/lion")[1]
    assert ["cost", "2 runs, 45 s"] in lines(out)
    assert "https://kexue.fm/archives/9473" in out
    assert ["adamw", "optimizer=adamw"] in lines(out)
    assert ["seeds", "0, 1"] in lines(out)
    assert "C1  not reproduced  Lion is better." in out
    assert "smoke" in out


def test_show_a_group_lists_it(call: Call) -> None:
    code, out, _ = call("show", "position")
    assert code == 0
    assert "rope" in out


def test_show_an_option_without_a_class(call: Call) -> None:
    out = call("show", "trainer/long")[1]
    assert "More steps." in out
    assert ["max_steps", "100", "updates, not # batches"] in lines(out)


def test_which_experiments_use_an_option(small: Catalogue) -> None:
    found = {
        f"{option.group}={option.name}": using(option, small)
        for group in ("attention", "optimizer", "position")
        for option in small.options(group)
    }
    assert found == {
        "attention=performer": ["performer"],
        "attention=softmax": ["performer"],
        "optimizer=adamw": ["lion"],
        "optimizer=lion": ["lion"],
        "position=alibi": [],
        "position=learned": [],
        "position=rope": [],
    }


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("list", "attenion"), "list attenion: no such group; did you mean attention?"),
        (("list", "lion"), "list lion: lion is an option of optimizer; see suexp show lion"),
        (("list", "a", "b"), "list: unrecognized arguments: b; see suexp list --help"),
        (("show",), "show: the following arguments are required: name; see suexp show --help"),
        (
            ("show", "perfomer"),
            "show perfomer: no such option or experiment; did you mean performer?",
        ),
        (
            ("show", "attention/perfomer"),
            "show attention=perfomer: no such option; did you mean attention=performer?",
        ),
        (("show", "atention/x"), "show atention/x: no such group; did you mean attention?"),
        (("list", "-cd", "nowhere"), "--config-dir nowhere: there is no such folder"),
        (
            ("report", "nowhere"),
            "report nowhere: there is no results.json; "
            "run an experiment first, for example suexp experiment=lion",
        ),
    ],
)
def test_mistakes(call: Call, argv: tuple[str, ...], line: str) -> None:
    assert call(*argv) == (2, "", f"suexp: {line}\n")


def test_report_names_the_folder_that_was_meant(call: Call, in_tmp: Path) -> None:
    record(in_tmp / "outputs/lion/laptop", "laptop", "2026-01-01")
    assert "did you mean outputs/lion/laptop?" in call("report", "outputs/lion")[2]
    assert "choose from outputs/lion/laptop" in call("report", "nowhere")[2]
