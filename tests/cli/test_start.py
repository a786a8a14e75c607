"""The ways in: bare, help, posts by number and title, words to complete, narrow terminals."""

import io
import subprocess
import sys
from typing import Any

import pytest
from rich.console import Console

import suexp
from suexp.cli import main, terminal
from suexp.cli.completion import answer
from suexp.config.catalogue import Catalogue
from suexp.errors import UserError


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(argv) == 0
    return capsys.readouterr().out


def test_bare_says_how_to_start_in_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys)
    assert len(text.splitlines()) <= 10
    for line in text.splitlines()[2:]:
        command = line.strip().split("  ")[0].split()
        assert command[0] == "suexp"
        if command[1] not in ("list", "show", "help"):
            assert main(["check", *command[1:]]) == 0
        else:
            assert main(command[1:]) == 0


@pytest.mark.parametrize("words", [["help"], ["--help"], ["help", "me"]])
def test_help(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert "Choose parts, group=option" in told(capsys, *words)


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["help", "runs"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("usage: suexp runs")


def test_it_is_a_module_too() -> None:
    command = [sys.executable, "-m", "suexp", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"suexp {suexp.__version__}\n"


def test_flags_may_come_before_the_command(tmp_path: Any, capsys: Any) -> None:
    (tmp_path / "mask").mkdir()
    (tmp_path / "mask" / "mine.yaml").write_text("# Mine.\n_target_: suexp.mask.causal.Causal\n")
    for flags in (["--config-dir", str(tmp_path)], [f"-cd={tmp_path}"]):
        assert "mine" in told(capsys, *flags, "list", "mask")
        assert "Mine." in told(capsys, "show", *flags, "mine")


@pytest.mark.parametrize(
    "words", ["9473", "https://kexue.fm/archives/9473", "searched optimizer", "新搜出的优化器"]
)
def test_a_post_is_found(capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert told(capsys, "show", words).startswith("experiment=lion\n")


def test_every_post_is_found_by_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    for option in Catalogue().options("experiment"):
        url = option.content["post"].get("url")
        if url:
            number = url.rstrip("/").rpartition("/")[2]
            assert option.name in told(capsys, "show", number), url


def test_several_posts_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = told(capsys, "show", "softmax").splitlines()[:1]
    assert rows[0].startswith("attention=softmax")  # an option's own name comes first
    names = {row.split()[0] for row in told(capsys, "show", "注意力").splitlines()}
    assert {"length_extrapolation", "softmax_robustness"} <= names


def test_what_is_no_post_is_one_line() -> None:
    assert main(["show", "99999999"]) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("task=seq2seq task.loss_on=", ["task.loss_on=target", "task.loss_on=all"]),
        ("check model=mlp data=digits model.activation=re", ["model.activation=relu"]),
        ("data=docstring_topic data.truncate=", ["data.truncate=true", "data.truncate=false"]),
    ],
)
def test_words_to_choose_from_are_completed(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, line: str, words: list[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", f"suexp {line}")
    assert answer(["-sc", "query=bash"])
    assert capsys.readouterr().out.split() == words


@pytest.mark.parametrize("width", [40, 200])
def test_columns_are_stacked_where_they_are_too_many(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    seen = io.StringIO()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(
        "rich.console.Console", lambda **_: Console(file=seen, width=width, color_system=None)
    )
    rows = [("lion", "a post with a rather long title of its own", "3 reproduced", "30 runs")]
    terminal.show_rows(("name", "title", "verdicts", "cost"), rows)
    lines = [line.rstrip() for line in seen.getvalue().splitlines()]
    if width == 200:
        assert [len(line.split("  ")) > 3 for line in lines] == [True, True]
    else:
        assert lines[0] == "lion"
        assert lines[1].startswith("  title: a post with")
        assert lines[-1] == "  cost: 30 runs"


def test_a_mistake_on_a_terminal_is_broken_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = io.StringIO()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(
        "rich.console.Console", lambda **_: Console(file=seen, width=40, color_system="standard")
    )
    terminal.show_error("optimizer=lyon: no such option; did you mean optimizer=lion?")
    lines = seen.getvalue().splitlines()
    assert len(lines) == 2
    assert "\x1b[1;31msuexp: \x1b[0m" in lines[0]
    assert lines[1] == "did you mean optimizer=lion?"


def test_a_string_is_one_command_line() -> None:
    assert suexp.compose("attention=performer seed=3").seed == 3
    assert suexp.compose("data=files data.kind=lm data.train='数 据.txt'").data.train == "数 据.txt"
    with pytest.raises(UserError, match="no closing quotation"):
        suexp.compose("data.train='a")
