"""The command as a whole: exit codes, what is imported, completion, help."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from suexp import __version__, cli, folders
from suexp.errors import UserError
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.store.summary import Status, Summary
from tests.cli.tree import TRUST, write_tree

Call = Callable[..., tuple[int, str, str]]

# Runs the command over the small tree of a folder, then prints what it has imported.
PROGRAM = """
import sys
from pathlib import Path
import suexp.folders
folder, sweeper, *argv = sys.argv[1:]
suexp.folders._shipped = Path(folder).joinpath
sys.path.insert(0, folder)
from suexp.cli import main
sys.argv[0] = "suexp"
try:
    code = main(argv)
finally:
    heavy = ("torch", "hydra", "omegaconf", "pytorch_lightning", "importlib.metadata", "rich")
    print("imported:", *(name for name in heavy if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


def process(folder: Path, *argv: str, **environment: str) -> tuple[int, str, str, set[str]]:
    """Call the command in a process of its own: exit code, stdout, stderr, what it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), "", *argv],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **environment},
        check=False,
    )
    err, _, imported = done.stderr.rpartition("imported:")
    return done.returncode, done.stdout, err, set(imported.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small")
    write_tree(path)
    return path


def test_importing_the_command_imports_nothing_heavy() -> None:
    program = """
import sys, suexp.cli
heavy = {"torch", "hydra", "omegaconf", "lightning", "pytorch_lightning", "rich", "yaml"}
assert not heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["list"], 0),
        (["list", "experiment"], 0),
        (["list", "--json"], 0),
        (["show", "attention/performer"], 0),
        (["atention=softmax"], 2),
        (["optimizer.lrr=1"], 2),
        (["check", "attention=perfomer"], 2),
        (["--version"], 0),
        (["--help"], 0),
        (["-h"], 0),
    ],
)
def test_quick_answers_import_neither_hydra_nor_torch(
    argv: list[str], code: int, folder: Path
) -> None:
    returned, out, err, imported = process(folder, *argv)
    assert returned == code, err
    assert (out != "") == (code == 0)
    assert err.startswith("suexp: ") == (code == 2)
    assert err.count("\n") == (code == 2)
    assert imported == set()


def test_an_experiment_is_shown_without_hydra(folder: Path) -> None:
    code, out, err, imported = process(folder, "show", "experiment/lion")
    assert (code, err) == (0, "")
    assert out.startswith("experiment=lion\n")
    assert imported <= {"importlib.metadata"}  # pydantic's, which checks the file


def test_check_composes_everything_and_imports_no_torch(folder: Path) -> None:
    code, out, err, imported = process(folder, "check", TRUST, "attention=performer", "seed=3")
    assert (code, err) == (0, "")
    assert "1 run, 10 steps" in out
    assert "attention=performer" in out
    assert "seeds    3" in out
    assert "torch" not in imported
    assert "hydra" in imported


def test_the_shipped_defaults_compose_without_torch() -> None:
    code, out, err, imported = process(folders.conf_dir().parent, "check")
    assert (code, err) == (0, "")
    assert out.startswith("1 run")
    assert "torch" not in imported


def test_a_finished_run_is_found_without_torch(tmp_path: Path) -> None:
    arguments = ("seed=3", f"out={tmp_path}")
    run = Run(spec_of(arguments))
    run.folder.mkdir(parents=True)
    cost = {"wall_seconds": 1.0}
    run.finish(Summary(run.folder, run.id, Status.FINISHED, metrics={"val/loss": 2.5}, cost=cost))
    code, out, err, imported = process(folders.conf_dir().parent, *arguments)
    assert (code, err) == (0, f"{run.already}\n")
    assert "2.5000" in out
    assert "torch" not in imported


def test_check_an_experiment(folder: Path) -> None:
    code, out, err, _ = process(folder, "check", TRUST, "experiment=lion", "scale=smoke")
    assert (code, err) == (0, "")
    assert "experiment=lion (smoke): 2 arms x 1 seed = 2 runs" in out
    assert "optimizer=lion optimizer.lr=3e-4" in out
    assert not (folder / "outputs").exists()


def test_check_a_sweep(folder: Path) -> None:
    code, out, err, _ = process(folder, "check", "-m", TRUST, "position=rope,learned", "seed=0,1")
    assert (code, err) == (0, "")
    assert out.count("2 runs, 10 steps") == 2


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["optimizer.lr=abc"], "optimizer.lr: 'abc' is not a float"),
        (
            ["+optimizer.beta=1"],
            "optimizer.beta: AdamW takes no 'beta'; did you mean optimizer.betas?",
        ),
        (
            ["attention=performer", "position=alibi"],
            "attention=performer cannot be combined with position=alibi: "
            "it never forms the scores; use position=rope",
        ),
        (
            ["position=learned", "position.max_length=4"],
            "position.max_length=4 is shorter than the text, data.block_size=32; "
            "set position.max_length=32 or data.block_size=4",
        ),
        (["optimizer.momentum_dtype=x"], None),
        (["--cfg", "job"], "check --cfg: only -m and --config-dir mean something here"),
    ],
)
def test_check_refuses(argv: list[str], line: str | None, folder: Path) -> None:
    code, out, err, imported = process(folder, "check", TRUST, *argv)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert line is None or err == f"suexp: {line}\n"
    assert "torch" not in imported


def test_the_site_is_written_without_torch(folder: Path) -> None:
    code, out, err, imported = process(folder, "report", "--into", "site")
    assert (code, err) == (0, "")
    assert out == "2 experiments, 2 not run yet\nsite: site/index.html\n"
    assert "torch" not in imported


def test_check_knows_options_of_ones_own(folder: Path) -> None:
    mine = folder / "mine" / "attention"
    mine.mkdir(parents=True)
    (mine / "cosine.yaml").write_text("_target_: tiny_parts.Softmax\ndropout: 0.1\n")
    command = ("check", "--config-dir", "mine", "attention=cosine")
    code, out, err, _ = process(folder, *command, TRUST)
    assert (code, err) == (0, "")
    assert "attention=cosine" in out


def test_help_names_the_commands_then_the_groups(folder: Path) -> None:
    out = process(folder, "--help")[1]
    assert out.index("suexp list") < out.index("attention ")
    assert "softmax, performer" in out  # the default first
    assert 'eval "$(suexp -sc install=bash)"' in out


@pytest.mark.parametrize(
    ("line", "expected", "absent"),
    [
        ("suexp ", {"list", "show", "check", "report", "attention=", "seed="}, set()),
        ("suexp li", {"list"}, {"show"}),
        ("suexp atten", {"attention="}, {"list"}),
        ("suexp position=", {"position=rope", "position=alibi"}, set()),
        ("suexp attention=performer position=le", {"position=learned"}, {"list"}),
        ("suexp optimizer.", {"optimizer.lr="}, set()),
        ("suexp check position=le", {"position=learned"}, {"check"}),
        ("suexp show attention/", {"attention/softmax", "attention/performer"}, {"softmax"}),
        ("suexp show per", {"performer"}, set()),
        ("suexp list pos", {"position"}, set()),
        ("suexp report out", set(), {"list"}),
    ],
)
def test_completion(line: str, expected: set[str], absent: set[str], folder: Path) -> None:
    code, out, err, imported = process(folder, "-sc", "query=bash", COMP_LINE=line)
    assert (code, err) == (0, "")
    assert expected <= set(out.split())
    assert not absent & set(out.split())
    assert "torch" not in imported


def test_completion_stays_silent_over_a_mistake(folder: Path) -> None:
    code, _, err, _ = process(folder, "-sc", "query=bash", COMP_LINE="suexp optimizer.x=1,2 po")
    assert (code in (0, 1), err) == (True, "")


def test_the_install_line_names_the_command(folder: Path) -> None:
    out = process(folder, "-sc", "install=bash")[1]
    assert out.rstrip().endswith("hydra_bash_completion suexp")


def test_version(call: Call) -> None:
    assert call("--version") == (0, f"suexp {__version__}\n", "")


@pytest.mark.parametrize(
    ("raised", "code", "err"),
    [
        (UserError("a mistake"), 2, "suexp: a mistake\n"),
        (
            KeyboardInterrupt(),
            130,
            "suexp: interrupted; the same command goes on from the last checkpoint\n",
        ),
    ],
)
def test_exit_codes(
    raised: BaseException, code: int, err: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(argv: list[str]) -> int:
        raise raised

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert call() == (code, "", err)


def test_a_bug_of_ours_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(folders, "_shipped", lambda name: 1 / 0)
    assert cli.main(["list"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert (said[0], said[-1]) == (
        "Traceback (most recent call last):",
        "ZeroDivisionError: division by zero",
    )


def test_a_reader_that_has_seen_enough() -> None:
    command = f"{sys.executable} -c 'from suexp.cli import main; import sys; sys.exit(main())'"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} list --json | head -c 1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
