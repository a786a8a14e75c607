"""Studies by Optuna: what is asked, told, pruned, killed and taken up again."""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from suexp.cli import main
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.store.summary import Status, Summary
from suexp.study.search import parse
from suexp.study.study import Settings, Study, conduct
from tests.job.test_checkpoint import assert_equal
from tests.support.tiny import tiny

pytestmark = pytest.mark.xdist_group("study")  # one worker makes what its tests share

optuna = pytest.importorskip("optuna")
States = optuna.trial.TrialState

STEPS = ("trainer.max_steps=30", "trainer.val_check_interval=10")
RATES = (0.03, 1e-6)
RATE = "optimizer.lr=tag(log,interval(1e-3,1e-1))"
GRID = (
    "-m",
    "hydra/sweeper=optuna",
    "hydra.launcher.jobs=0",
    "hydra.sweeper.sampler=grid",
    "hydra.sweeper.startup_trials=1",
    f"optimizer.lr=choice({','.join(map(str, RATES))})",
)


def quietly(*arguments: str) -> tuple[int, str]:
    """Call the command line; return its exit code and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, out.getvalue()


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study of a good and a bad learning rate, for real; its output folder, what it printed."""
    out = tmp_path_factory.mktemp("pruned")
    code, said = quietly(*GRID, *tiny(out, *STEPS))
    assert code == 0
    return out, said


def config_of(out: Path, rate: float) -> dict[str, Any]:
    return spec_of(tiny(out, *STEPS, f"optimizer.lr={rate}"))


def written(out: Path) -> dict[str, Any]:
    (path,) = (out / "studies").glob("*/study.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def study_of(out: Path) -> Any:
    (path,) = (out / "studies").glob("*.db")
    return optuna.load_study(study_name=path.stem, storage=f"sqlite:///{path}")


@pytest.mark.slow
def test_a_bad_run_is_stopped_and_is_no_failure(pruned: tuple[Path, str]) -> None:
    out, _ = pruned
    good, bad = (Run(config_of(out, rate)) for rate in RATES)
    assert good.finished
    summary = bad.summary()
    assert summary is not None
    assert summary.status == "pruned"
    assert summary.error.startswith("trial 1 of the study lr-")
    assert [path.stem for path in bad.checkpoints()] == ["step=11"]  # of 30
    assert summary.metrics["val/loss"] == bad.history()[-1]["val/loss"]
    assert summary.exit_code == 0
    code, listed = quietly("runs", "pruned", "--out", str(out), "--json")
    assert code == 0
    assert [row["id"] for row in json.loads(listed)] == [bad.id]
    trials = study_of(out).get_trials()
    assert [trial.state for trial in trials] == [States.COMPLETE, States.PRUNED]
    assert [{*trial.intermediate_values} for trial in trials] == [{10, 20, 30}, {10}]


@pytest.mark.slow
def test_a_pruned_run_goes_on_as_if_nothing_had_been(
    pruned: tuple[Path, str], tmp_path: Path
) -> None:
    shutil.copytree(pruned[0] / "runs", tmp_path / "on" / "runs")
    config = config_of(tmp_path / "on", RATES[1])
    assert config.config["study"]["name"] is None
    said: list[str] = []
    assert execute(config, said.append).status == "finished"
    assert said == [f"run {Run(config).id} goes on from step=11"]
    whole = config_of(tmp_path / "whole", RATES[1])
    execute(whole)
    assert_equal(Run(config), Run(whole))


@pytest.mark.slow
def test_what_a_study_leaves_behind(pruned: tuple[Path, str]) -> None:
    out, said = pruned
    results = written(out)
    assert [row["state"] for row in results["trials"]] == ["finished", "pruned"]
    assert [row["parameters"] for row in results["trials"]] == [
        {"optimizer.lr": "0.03"},
        {"optimizer.lr": "1e-06"},
    ]
    best = Run(config_of(out, RATES[0]))
    assert results["best"]["run"] == best.id
    summary = best.summary()
    assert summary is not None
    assert results["best"]["value"] == summary.metrics["val/loss"]
    program, *overrides = shlex.split(results["best"]["command"])
    assert program == "suexp"
    assert Run(spec_of(overrides)).id == best.id
    assert results["best"]["command"] in said
    rows = [line for line in said.splitlines() if "│" in line]
    assert [re.split(r"\s*│\s*", row)[1:3] for row in rows] == [["0", "finished"], ["1", "pruned"]]
    (figure,) = (out / "studies").glob("*/study.svg")
    text = figure.read_text()
    for name in ("trial-finished", "trial-pruned", "best", "optimizer.lr-pruned"):
        assert text.count(f'id="{name}"') == 1
    for word in ("val/loss", "optimizer.lr", "best so far", "finished", "pruned", "1e-06"):
        assert f"<!-- {word} -->" in text


@pytest.mark.slow
def test_the_same_command_again_makes_nothing(pruned: tuple[Path, str]) -> None:
    out, said = pruned
    before = {path: path.read_bytes() for path in (out / "runs").rglob("*.json*")}
    code, again = quietly(*GRID, *tiny(out, *STEPS))
    assert (code, again) == (0, said)
    assert {path: path.read_bytes() for path in (out / "runs").rglob("*.json*")} == before


def wait_until(done: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and process.poll() is None and not done():
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_and_taken_up_a_study_ends_with_its_trials(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two at a time; all processes are killed while some trials have ended and some run."""
    asked = (
        *("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=6", "hydra.sweeper.pruner=none"),
        RATE,
        *tiny(tmp_path, *STEPS, "trainer.checkpoint_seconds=0"),
    )
    program = "import sys; from suexp.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *asked, "hydra.launcher.jobs=2"], start_new_session=True
    )

    def ended() -> set[Path]:
        return {*tmp_path.glob("runs/*/summary.json")}

    def under_way() -> set[Path]:
        begun = {path.parents[1] for path in tmp_path.glob("runs/*/checkpoints/*.ckpt")}
        return begun - {path.parent for path in ended()}

    wait_until(lambda: len(ended()) >= 2 and len(under_way()) > 0, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    study = study_of(tmp_path)
    assert any(trial.state == States.RUNNING for trial in study.get_trials())
    kept = {path: path.read_bytes() for path in ended()}
    cut = {path.name for path in under_way()}
    assert cut
    capfd.readouterr()

    assert quietly(*asked, "hydra.launcher.jobs=0")[0] == 0
    said = capfd.readouterr().err
    assert all(re.search(rf"run {run} goes on from step=\d+", said) for run in cut)
    assert {path: path.read_bytes() for path in kept} == kept  # none is run twice
    complete = study.get_trials()
    assert {trial.state for trial in complete} == {States.COMPLETE}
    assert len(complete) == len(ended()) == 6
    assert len({trial.user_attrs["run"] for trial in complete}) == 6
    # The trials are those of a study that nobody has killed.
    undisturbed = tmp_path / "undisturbed"
    search(undisturbed, Fake(loss, 2), RATE, *STEPS)
    assert values(undisturbed) == [trial.params["optimizer.lr"] for trial in complete]
    for trial in complete:
        assert {*trial.intermediate_values} == {10, 20, 30}
        run = json.loads((tmp_path / "runs" / trial.user_attrs["run"] / "summary.json").read_text())
        assert (run["status"], run["metrics"]["val/loss"]) == ("finished", trial.value)
    assert len(written(tmp_path)["trials"]) == 6


@pytest.mark.slow
def test_a_study_out_of_reach_stops_no_training(tmp_path: Path) -> None:
    place = ("study.name=gone", "study.trial=0", f"study.storage='sqlite:///{tmp_path}/none.db'")
    said: list[str] = []
    config = spec_of(tiny(tmp_path, *STEPS, *place))
    assert Run(config).id == Run(spec_of(tiny(tmp_path, *STEPS))).id
    assert execute(config, said.append).status == "finished"
    (line,) = said
    assert line.startswith(f"run {Run(config).id} cannot reach its study, and goes on: ")
    assert "\n" not in line


class Fake:
    """A launcher whose runs end at once, as a function of their config tells them to."""

    def __init__(
        self, outcome: Callable[[dict[str, Any]], dict[str, Any] | str], width: int = 1
    ) -> None:
        self.outcome, self.width = outcome, width
        self.batches: list[int] = []

    def at_a_time(self, config: dict[str, Any]) -> int:
        return self.width

    def launch(self, batch: Sequence[Sequence[str]], first: int) -> None:
        self.batches.append(len(batch))
        for overrides in batch:
            run = Run(spec_of(tuple(overrides)))
            run.folder.mkdir(parents=True, exist_ok=True)
            found = self.outcome(run.config)
            metrics = found if isinstance(found, dict) else {}
            status = Status.FINISHED if metrics else Status.FAILED
            error = None if metrics else str(found)
            run.finish(Summary(run.folder, run.id, status, error, metrics=metrics))


def loss(config: dict[str, Any]) -> dict[str, float]:
    return {"val/loss": abs(config["optimizer"]["lr"] - 0.3)}


def search(out: Path, launcher: Fake, *arguments: str, **settings: Any) -> int:
    keys = {"metric": "val/loss", "direction": "minimize", "sampler": "tpe", "seed": 0}
    keys |= {"pruner": "none", "startup_trials": 5, "warmup_steps": 0, "storage": None}
    keys |= {"n_jobs": None}
    with contextlib.redirect_stdout(io.StringIO()):
        space = arguments or ("optimizer.lr=interval(0,1)",)
        own = {"study_name": None, "n_trials": 6, **keys, **settings}
        return conduct(tiny(out, *space), launcher, Settings(**own))


def values(out: Path) -> list[float]:
    return [trial.params["optimizer.lr"] for trial in study_of(out).get_trials()]


@pytest.mark.slow
def test_batches_are_as_large_as_the_launcher(tmp_path: Path) -> None:
    launcher = Fake(loss, 4)
    assert search(tmp_path, launcher, n_trials=10) == 0
    assert launcher.batches == [4, 4, 2]
    assert len({*values(tmp_path)}) == 10
    assert search(tmp_path, launcher, n_trials=11) == 0
    assert launcher.batches == [4, 4, 2, 1]
    best = written(tmp_path)["best"]
    assert best["value"] == min(abs(value - 0.3) for value in values(tmp_path))
    # What is proposed depends on the seed and on what was told before, not on when it was stopped.
    other = tmp_path / "other"
    assert search(other, Fake(loss, 4), n_trials=4) == 0
    assert search(other, Fake(loss, 4), n_trials=11) == 0
    assert values(other)[:10] == values(tmp_path)[:10]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "batches"),
    [
        ({}, [10, 3]),  # a batch of all 13 would be a random search
        ({"sampler": "random"}, [13]),
        ({"n_jobs": 5}, [5, 5, 3]),
        ({"n_jobs": 100}, [13]),
    ],
)
def test_a_wide_launcher_does_not_get_all_trials_of_tpe(
    tmp_path: Path, asked: dict[str, Any], batches: list[int]
) -> None:
    launcher = Fake(loss, 100)
    assert search(tmp_path, launcher, n_trials=13, **asked) == 0
    assert launcher.batches == batches


def test_runs_that_exist_are_told_from_their_history(tmp_path: Path) -> None:
    for rate in ("0.25", "0.75"):
        run = Run(spec_of(tiny(tmp_path, f"optimizer.lr={rate}")))
        run.folder.mkdir(parents=True)
        lines = [{"step": 0, "val/loss": 9.0}, {"step": 5, "val/loss": 3.0}, {"step": 7, "x": 1}]
        (run.folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        run.finish(Summary(run.folder, run.id, Status.FINISHED, metrics=loss(run.config)))
    launcher = Fake(loss)
    space = "optimizer.lr=range(0.25,1,0.25)"
    assert search(tmp_path, launcher, space, sampler="grid", direction="maximize") == 0
    assert launcher.batches == [1]  # 0.5 alone
    trials = study_of(tmp_path).get_trials()
    assert [trial.value for trial in trials] == pytest.approx([0.05, 0.2, 0.45])
    assert [trial.intermediate_values for trial in trials] == [{5: 3.0}, {}, {5: 3.0}]
    assert written(tmp_path)["best"]["parameters"] == {"optimizer.lr": 0.75}


@pytest.mark.parametrize(("on_error", "made"), [("continue", 4), ("stop", 2)])
def test_a_trial_that_fails(tmp_path: Path, on_error: str, made: int) -> None:
    def outcome(config: dict[str, Any]) -> dict[str, Any] | str:
        lr = config["optimizer"]["lr"]
        if lr == 0.2:
            return "the loss is nan"
        return {"val/loss": "nan"} if lr == 0.3 else loss(config)

    space = ("optimizer.lr=0.1,0.2,0.3,0.4", f"on_error={on_error}")
    failed = search(tmp_path, Fake(outcome), *space, sampler="grid")
    rows = {row["parameters"]["optimizer.lr"]: row for row in written(tmp_path)["trials"]}
    assert len(rows) == made
    errors = {lr: row["error"] for lr, row in rows.items() if row["state"] == "failed"}
    expected = {"0.2": "failed: the loss is nan", "0.3": "its val/loss is nan"}
    assert errors == {lr: text for lr, text in expected.items() if lr in rows}
    assert failed == len(errors)
    assert written(tmp_path)["best"]["parameters"] == {"optimizer.lr": "0.4" if made > 2 else "0.1"}


@pytest.mark.slow
def test_a_combination_that_cannot_work_fails_alone(tmp_path: Path) -> None:
    launcher = Fake(lambda _: {"val/loss": 1.0}, 2)
    space = ("attention=softmax,performer", "position=rope,alibi")
    assert search(tmp_path, launcher, *space, sampler="grid") == 1
    (row,) = [row for row in written(tmp_path)["trials"] if row["state"] == "failed"]
    assert row["parameters"] == {"attention": "performer", "position": "alibi"}
    assert "cannot be combined with position=alibi" in row["error"]
    assert sum(launcher.batches) == 3


class Stopped(Fake):
    """Ctrl-C once a number of batches have ended."""

    def launch(self, batch: Sequence[Sequence[str]], first: int) -> None:
        if len(self.batches) == 1:
            super().launch(batch[:1], first)
            raise KeyboardInterrupt
        super().launch(batch, first)


@pytest.mark.slow
def test_trials_left_behind_are_told_or_made(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, Stopped(loss, 2))
    states = [row["state"] for row in written(tmp_path)["trials"]]
    assert states == ["finished", "finished", "unfinished", "unfinished"]
    launcher = Fake(loss, 2)
    assert search(tmp_path, launcher) == 0
    assert launcher.batches == [1, 2]  # the third trial had ended when nobody listened
    assert [row["state"] for row in written(tmp_path)["trials"]] == ["finished"] * 6
    assert search(tmp_path / "undisturbed", Fake(loss, 2)) == 0
    assert values(tmp_path) == values(tmp_path / "undisturbed")


class Killed(BaseException):
    """As the end of a process, which nothing can catch."""


def asked_for(out: Path, monkeypatch: pytest.MonkeyPatch, lives: int | None, sampler: str) -> int:
    """Drive a study until it has written ``lives`` times to its storage, or ends; count the writes.

    Its trials are worth what their values say at once.
    """
    keys = {"study_name": None, "n_trials": 14, "metric": "val/loss", "direction": "minimize"}
    keys |= {"sampler": sampler, "seed": 0, "n_jobs": None, "pruner": "none", "storage": None}
    whole = "model.dim=range(1,8)" if sampler == "grid" else "model.dim=range(1,99)"
    space = parse(("norm=rms,layer", whole, *["optimizer.lr=interval(0,1)"][sampler == "grid" :]))
    study = Study(space, Settings(**keys, startup_trials=5, warmup_steps=0), out, "killed")
    writes = 0

    def written(write: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal writes
            if writes == lives:
                raise Killed
            writes += 1
            return write(*arguments, **named)

        return counted

    with study.held():
        study.open()
        monkeypatch.setattr(study.optuna, "add_trial", written(study.optuna.add_trial))
        while trials := study.batch(3, study.total()):
            for trial in trials:
                value = trial.params["model.dim"] + len(trial.params["norm"])
                written(study.optuna.tell)(trial.number, value)
    return writes


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "grid"])  # the first ten of tpe are random
def test_killed_at_every_write_a_study_asks_for_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    once, often = tmp_path / "once", tmp_path / "often"
    assert asked_for(once, monkeypatch, None, sampler) == 2 * 14
    for _ in range(2 * 14 - 1):
        with pytest.raises(Killed):
            asked_for(often, monkeypatch, 1, sampler)
    assert asked_for(often, monkeypatch, 1, sampler) == 1
    found = [[trial.params for trial in study_of(out).get_trials()] for out in (once, often)]
    assert found[0] == found[1]
    assert len({tuple(params.values()) for params in found[0]}) == 14
    if sampler == "grid":
        assert [params["model.dim"] for params in found[0]] == [*range(1, 8)] * 2


REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "direction=up: no such direction": ({"direction": "up"}, ()),
    "did you mean random": ({"sampler": "randm"}, ()),
    "did you mean median": ({"pruner": "medan"}, ()),
    "n_trials=0: 1 is the least": ({"n_trials": 0}, ()),
    "n_jobs=0: 1 is the least": ({"n_jobs": 0}, ()),
    "warmup_steps=-1: 0 is the least": ({"warmup_steps": -1}, ()),
    "the URL holds a password": ({"storage": "postgresql://me:secret@host/db"}, ()),
    "sampler=grid: optimizer.lr may be any number": ({"sampler": "grid"}, ()),
    "storage=nonsense: ": ({"storage": "nonsense"}, ()),
    "did you mean attention=performer": ({}, ("attention=choice(softmax,performr)",)),
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_work_is_one_line(line: str, tmp_path: Path) -> None:
    settings, space = REFUSED[line]
    with pytest.raises(UserError, match=re.escape(line)) as caught:
        search(tmp_path, Fake(loss), *space, **settings)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_experiment_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = quietly("experiment=lion", "hydra/sweeper=optuna", "model.dim=16,32")
    assert (code, said) == (2, "")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("suexp: hydra/sweeper=optuna: an experiment states its own arms")


def test_without_optuna_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=re.escape("pip install 'suexp[tune]'")):
        search(tmp_path, Fake(loss))


@pytest.mark.slow
def test_a_metric_that_no_run_has_can_be_mended(tmp_path: Path) -> None:
    launcher = Fake(loss)
    with pytest.raises(UserError, match="did you mean val/loss"):
        search(tmp_path, launcher, study_name="mine", metric="val/los")
    assert search(tmp_path, launcher, study_name="mine", n_trials=2) == 0
    assert launcher.batches == [1, 1]  # what was run is told under the right name
    with pytest.raises(UserError, match="the study mine had another space"):
        search(tmp_path, launcher, "optimizer.lr=interval(0,2)", study_name="mine")
    with pytest.raises(UserError, match="the study mine had another fixed"):
        search(tmp_path, launcher, "optimizer.lr=interval(0,1)", "seed=1", study_name="mine")
    lock = FileLock(tmp_path / "studies" / "mine" / ".lock")
    with lock, pytest.raises(UserError, match="being run by another process"):
        search(tmp_path, launcher, study_name="mine")


@pytest.mark.slow
def test_another_output_folder_s_trials_are_left_alone(tmp_path: Path) -> None:
    """Two machines may share a database."""
    shared = {"storage": f"sqlite:///{tmp_path}/shared.db", "study_name": "ours", "n_trials": 4}
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "a", Stopped(loss, 1), **shared)
    launcher = Fake(loss)
    assert search(tmp_path / "b", launcher, **shared) == 0
    study = optuna.load_study(study_name="ours", storage=shared["storage"])
    assert [trial.state.name[0] for trial in study.get_trials()] == list("CRCC")
    assert search(tmp_path / "a", launcher, **shared) == 0
    assert [trial.state.name[0] for trial in study.get_trials()] == list("CCCC")
    assert launcher.batches == [1, 1]
