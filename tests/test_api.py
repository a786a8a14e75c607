"""Python is the command line: the same words, the same lines, objects instead of tables."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import suexp
from suexp.cli import main
from suexp.code.reach import reach
from suexp.folders import experiments_dir
from tests.support.tiny import EXPERIMENT, TINY

STEPS = ("trainer.max_steps=2", "trainer.val_check_interval=2")
SMALL = [
    *(item for item in TINY if not item.startswith(("trainer.max", "trainer.val_c"))),
    "scale=smoke",
]
ARMS = """
base: {trainer.max_steps: 2, trainer.val_check_interval: 2}
arms:
  adamw: {optimizer: adamw}
  lion: {optimizer: lion}
claims:
  C1: {text: Lion <b>learns</b>., test: "val/loss[lion] < 9"}
"""


def test_what_suexp_offers_is_there_and_no_result_depends_on_its_list() -> None:
    assert {"Experiment", "UserError", "__version__", "run"} <= {*dir(suexp)}
    for name in dir(suexp):
        assert getattr(suexp, name) is not None
    assert {*suexp.__all__} == {name for name in dir(suexp) if not name.startswith("_")}
    with pytest.raises(AttributeError, match="module 'suexp' has no attribute 'nothing'"):
        suexp.nothing  # noqa: B018
    found = reach(["suexp.attention.softmax.Softmax"])
    assert "suexp" in found
    assert not {"suexp._names", "suexp.api"} & {*found}


def code_of(argv: list[str]) -> Any:
    try:
        return main(argv)
    except SystemExit as stop:  # of a single run, whose end Hydra would announce otherwise
        return stop.code


@pytest.fixture
def own(in_tmp: Path) -> Iterator[str]:
    """A folder with an experiment of one's own, in an empty current directory."""
    (in_tmp / "mine" / "experiment").mkdir(parents=True)
    (in_tmp / "mine" / "experiment" / "tiny.yaml").write_text(EXPERIMENT + ARMS)
    return "mine"


@pytest.mark.slow
def test_an_experiment_comes_back_as_an_object(own: str) -> None:
    made = suexp.run(["experiment=tiny", "seeds=[0]", *SMALL], own)
    assert isinstance(made, suexp.Experiment)
    assert (made.name, made.scale, made.unfinished) == ("tiny", "smoke", 0)
    assert [*made.arms] == ["adamw", "lion"]
    assert [(run["arm"], run["seed"]) for run in made.runs] == [("adamw", 0), ("lion", 0)]
    assert made.claims["C1"].verdict == "undecided"
    assert made.figures["curves"].read_text().startswith("<?xml")
    assert repr(made) == "<Experiment tiny: 1 undecided (smoke), 2 arms, 2 runs>"
    html = made._repr_html_()
    assert "Lion &lt;b&gt;learns&lt;/b&gt;." in html
    assert html.count("<tr>") == 2
    # It lies where the command line puts it, and is read again from there.
    assert (
        suexp.results(made.folder).results["runs"]
        == json.loads((made.folder / "results.json").read_text())["runs"]
    )
    assert suexp.write_report(made.folder).read_text().count("Lion") > 0
    rows = suexp.runs("experiment=tiny finished")
    assert {row["id"] for row in rows} == {run["id"] for run in made.runs}
    assert suexp.runs(["arm=lion"], metric="train/loss")[0]["metric"] == "train/loss"


@pytest.mark.slow
def test_a_sweep_is_a_list_whether_said_as_string_or_list(in_tmp: Path) -> None:
    line = ["-m", "seed=0,1", *STEPS, *SMALL]
    made = suexp.run(line)
    again = suexp.run(" ".join(line))
    assert [summary.seed for summary in made] == [0, 1]
    assert [summary.id for summary in again] == [summary.id for summary in made]
    assert all(summary.finished for summary in made)


@pytest.mark.parametrize(
    "line",
    [
        "atention=performer",
        "attention=perfomer",
        "attention=softmax,performer",
        "attention=performer position=alibi",
        "optimizer.lrr=1",
        "experiment=loin",
        "trainer.max_steps='1",
    ],
)
def test_a_mistake_is_the_command_lines_own_line(
    line: str, in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(suexp.UserError) as raised:
        suexp.run(line)
    if "'" not in line:  # which a shell would have asked to close
        assert code_of(line.split()) == 2
        assert capsys.readouterr().err == f"suexp: {raised.value}\n"
    with pytest.raises(suexp.UserError) as checked:
        suexp.check(line)
    assert str(checked.value) == str(raised.value)


def test_check_gives_the_runs(in_tmp: Path) -> None:
    found = suexp.check("-m optimizer=lion seed=3,4")
    assert [planned["overrides"] for planned in found] == [
        ("optimizer=lion", "seed=3"),
        ("optimizer=lion", "seed=4"),
    ]
    # A list of seeds where the file has a rule for them.
    arms = suexp.check("experiment=points_in_sector only=[full,single] seeds=[7]")
    assert [(planned["arm"], planned["seed"]) for planned in arms] == [("full", 7), ("single", 7)]


def test_files_may_change_between_two_calls(in_tmp: Path) -> None:
    file = in_tmp / "mine" / "mask" / "mine.yaml"
    file.parent.mkdir(parents=True)
    text = "_target_: suexp.mask.window.Window\ncausal: true\nsize: "
    file.write_text(f"{text}4\n")
    assert len(suexp.check("mask=mine", "mine")) == 1
    file.write_text(f"{text}0\n")
    with pytest.raises(suexp.UserError, match="size must be at least 1, not 0"):
        suexp.check("mask=mine", "mine")


def test_other_flags_are_the_command_lines() -> None:
    with pytest.raises(suexp.UserError, match="run --cfg: only -m and --config-dir mean"):
        suexp.run("--cfg job")
    with pytest.raises(suexp.UserError, match="a search is the command line's"):
        suexp.run("-m hydra/sweeper=optuna seed=0,1")


def test_what_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert "performer" in {row["name"] for row in suexp.options("attention")}
    assert "attention" in {row["group"] for row in suexp.options()}
    with pytest.raises(suexp.UserError, match="list performer: performer is an option"):
        suexp.options("performer")
    suexp.show("performer")
    ours = capsys.readouterr().out
    assert main(["show", "performer"]) == 0
    assert capsys.readouterr().out == ours


def test_recorded_results_need_no_run(in_tmp: Path) -> None:
    found = suexp.results("lion")
    assert found.folder == experiments_dir() / "lion"
    assert {run["status"] for run in found.runs} == {"finished"}
    assert all(path.is_file() for path in found.figures.values())
    with pytest.raises(
        suexp.UserError, match="experiment=loin: no such option; did you mean experiment=lion"
    ):
        suexp.results("loin")


def test_importing_it_is_cheap() -> None:
    heavy = {"torch", "hydra", "omegaconf", "pytorch_lightning", "rich", "yaml", "suexp.api"}
    program = f"import sys, suexp; suexp.UserError; print(sorted({heavy!r} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
