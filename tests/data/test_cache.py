import os
import subprocess
import sys
from pathlib import Path

import pytest

from suexp.contents import cache_dir
from suexp.data.cache import MANIFEST, cached
from suexp.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUEXP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Builder:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "data.bin").write_bytes(b"0123456789")


def test_builds_once() -> None:
    build = Builder()
    first, second = cached("a", build), cached("a", build)
    assert first == second == cache_dir() / "data" / "a"
    assert (first / "data.bin").read_bytes() == b"0123456789"
    assert build.calls == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "data.bin").write_bytes(b"01234"),  # cut short
        lambda folder: (folder / "data.bin").write_bytes(b"0123056789"),  # a flipped byte
        lambda folder: (folder / "data.bin").unlink(),
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text("{"),
        lambda folder: (folder / MANIFEST).write_text("[]"),
        lambda folder: (folder / MANIFEST).write_text("{}"),
        lambda folder: [(folder / "data.bin").unlink(), (folder / MANIFEST).write_text("{}")],
        lambda folder: (folder / "more.bin").write_bytes(b"0"),
    ],
)
def test_rebuilds_what_is_damaged(damage: object) -> None:
    build = Builder()
    folder = cached("a", build)
    damage(folder)  # type: ignore[operator]
    assert (cached("a", build) / "data.bin").read_bytes() == b"0123456789"
    assert build.calls == 2


def test_failed_and_killed_builds_leave_nothing() -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        cached("a", fail)
    assert not (cache_dir() / "data" / "a").exists()
    killed = cache_dir() / "data" / "a.tmp"  # as a kill -9 would leave it
    killed.mkdir()
    (killed / "half").write_text("")
    folder = cached("a", Builder())
    assert sorted(path.name for path in folder.iterdir()) == ["data.bin", MANIFEST]
    assert not killed.exists()


def test_two_processes_build_once(tmp_path: Path) -> None:
    script = tmp_path / "build.py"
    script.write_text(
        "import sys, time\n"
        "from suexp.data.cache import cached\n"
        "def build(folder):\n"
        "    with open(sys.argv[1], 'a') as log:\n"
        "        log.write('built\\n')\n"
        "    time.sleep(0.5)\n"
        "    (folder / 'data').write_text('x')\n"
        "assert (cached('a', build) / 'data').read_text() == 'x'\n"
    )
    command = [sys.executable, str(script), str(tmp_path / "log")]
    processes = [subprocess.Popen(command, env=os.environ) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert (tmp_path / "log").read_text() == "built\n"


def test_unwritable_cache_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SUEXP_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot write to .*file: .*; choose .* SUEXP_CACHE=DIR"):
        cached("a", Builder())


def test_default_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUEXP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert cache_dir() == Path("/some/where/suexp")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "suexp"
