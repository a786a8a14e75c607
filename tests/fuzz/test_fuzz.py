"""Whatever is typed or written: one line or a result, soon, and no process is left behind."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from suexp.cli import main
from suexp.machine import cores
from tests.fuzz import files, lines, runs

SECONDS = 60  # nothing takes ten, but for a machine with other work

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="times what hangs by an alarm"),
]


class Hung(BaseException):
    """Passes every `except Exception`."""


@contextmanager
def in_time() -> Iterator[None]:
    def hung(*_: object) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> int:
    """Call the command line and return its exit code; a mistake is one line, and nothing else."""
    with in_time():
        try:
            code = main(argv)
        except SystemExit as stop:
            code = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert "Traceback" not in err, (argv, err)
    if code == 2:
        assert err.startswith("suexp: "), (argv, err)
        assert err.count("\n") == 1, (argv, err)
        assert out == "", (argv, out)
    elif code == 1:
        assert err.splitlines()[-1].startswith("suexp: "), (argv, err)
    return code


@pytest.mark.parametrize("part", range(6))
def test_any_overrides(part: int, in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = set()
    for place in range(50):
        rng = random.Random(f"lines {part} {place}")
        many = ["-m"] if rng.random() < 0.15 else []
        codes.add(told(capsys, "check", *many, *lines.line(rng)))
    assert codes == {0, 2}
    assert list(in_tmp.iterdir()) == []


@pytest.mark.parametrize("part", range(4))
def test_any_run(part: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = []
    for place in range(10):
        rng = random.Random(f"runs {part} {place}")
        codes.append(told(capsys, *runs.line(rng), f"out={tmp_path}"))
    assert {*codes} <= {0, 1, 2}
    assert codes.count(0) >= 2  # most settings are in range
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    assert not children.exists() or len(children.read_text().split()) <= cores()


@pytest.mark.parametrize("part", range(4))
def test_any_experiment_file(part: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "experiment").mkdir()
    codes = []
    for place in range(15):
        text, what = files.broken(random.Random(f"files {part} {place}"))
        name = f"broken_{place}"
        (tmp_path / "experiment" / f"{name}.yaml").write_text(text, encoding="utf-8")
        arguments = ("--config-dir", str(tmp_path), f"experiment={name}", "scale=smoke")
        codes.append(told(capsys, "check", *arguments))
        assert codes[-1] in (0, 2), what
        (tmp_path / "experiment" / f"{name}.yaml").unlink()
    assert codes.count(2) > codes.count(0)
