"""A run does not end with the terminal that it was begun in."""

import os
import sys
from pathlib import Path

import pytest

from suexp.lasting_output import Terminal, outlive_the_terminal

pty = pytest.importorskip("pty")


def test_what_is_said_to_a_closed_terminal_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with open(theirs, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        outlive_the_terminal()
    assert sys.stderr.isatty()
    print("still there", file=sys.stderr)
    assert os.read(ours, 99) == b"still there\r\n"
    os.close(ours)
    with pytest.raises(OSError, match="Input/output error"):
        os.write(theirs, b"gone")
    print("said to nobody", file=sys.stderr, flush=True)
    os.close(theirs)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_another_matter() -> None:
    with Terminal("/dev/full", "w") as file, pytest.raises(OSError, match="No space left"):
        file.write(b"x")


def test_files_and_pipes_are_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    outlive_the_terminal()
    assert (sys.stdout, sys.stderr) == before
