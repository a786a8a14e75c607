"""Mistakes that only show when a run starts: one line, exit code 2, nothing else on the screen."""

from pathlib import Path

import pytest

from suexp.cli import main

LM = ("data=files", "data.tokenizer=bytes", "trainer.enable_progress_bar=false")


def mistake(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    try:
        code = main([*arguments, "scale=smoke"])
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capfd.readouterr()
    assert code == 2, captured.err
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


def test_a_file_that_is_not_there(in_tmp: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (in_tmp / "book.txt").write_text("words " * 1000)
    line = mistake(capfd, *LM, "data.train=bok.txt")
    assert line.startswith("suexp: data.train: no file bok.txt")
    assert "book.txt" in line


def test_an_empty_file(in_tmp: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (in_tmp / "empty.txt").touch()
    assert mistake(capfd, *LM, "data.train=empty.txt") == "suexp: empty.txt is empty"


def test_a_file_that_is_not_utf8(in_tmp: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (in_tmp / "bad.txt").write_bytes(b"good\nbad \xff")
    line = mistake(capfd, *LM, "data.train=bad.txt")
    assert line.startswith("suexp: bad.txt: not UTF-8 at byte 9 (line 2)")


def test_a_column_that_is_not_there(in_tmp: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (in_tmp / "rows.jsonl").write_text('{"sentence": "a", "label": 1}\n')
    line = mistake(
        capfd, *LM, "task=classification", "data.kind=classification", "data.train=rows.jsonl"
    )
    assert "no column 'text' among" in line
    assert "sentence" in line


def test_a_hub_name_without_a_network(in_tmp: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = mistake(capfd, "data=hub", "data.name=some/name")
    assert "the hub cannot be reached" in line
    assert "data=pydoc" in line


def test_an_output_folder_that_cannot_be_written(
    in_tmp: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (in_tmp / "file").touch()
    line = mistake(capfd, "data.tokenizer=bytes", "out=file/below")
    assert line.startswith("suexp: cannot write to ")
    assert line.endswith("choose a folder with out=DIR")
    assert not (in_tmp / "outputs").exists()


def test_a_value_that_a_constructor_refuses(
    in_tmp: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = mistake(capfd, "data.tokenizer=bytes", "loss.label_smoothing=2")
    assert line == "suexp: loss.label_smoothing must lie in [0, 1), not 2"
