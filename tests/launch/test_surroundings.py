"""A whole command where folders, rights and signals are not what one is used to."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launch.conftest import ARM, Nursery, said
from tests.support.tiny import EXPERIMENT, TINY
from tests.support.violent import Moment

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("violence")]

ARGV = [*TINY, "trainer.max_steps=4", "trainer.val_check_interval=4", "out=out"]
NOBODY = 65534


def losses(place: Path, out: str = "out") -> dict[str, Any]:
    """Return what each run of a folder came to, by its id."""
    found = {}
    for path in (place / out / "runs").glob("*/summary.json"):
        summary = json.loads(path.read_text())
        assert summary["status"] == "finished"
        found[summary["id"]] = summary["metrics"]["val/loss"]
    return found


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory, begin: Nursery) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("surroundings") / "usual"
    assert begin(place, ARGV)[0] == 0, said(place)
    found = losses(place)
    assert len(found) == 1
    return found


@pytest.mark.parametrize(
    "name", ["a" * 200, "-a", """two words, 科学 é a=b,c 100% ~x $HOME [1] ' " \n"""], ids=len
)
def test_it_works_in_any_folder(
    name: str, tmp_path: Path, begin: Nursery, usual: dict[str, Any]
) -> None:
    place = tmp_path / name
    place.mkdir()
    assert begin(place, ARGV)[0] == 0, said(place)
    assert losses(place) == usual


@pytest.mark.parametrize("name", ["a" * 200, "two words/科学/100%"], ids=len)
def test_it_writes_to_any_folder(
    name: str, tmp_path: Path, begin: Nursery, usual: dict[str, Any]
) -> None:
    place = tmp_path / "place"
    assert begin(place, [*ARGV, f"out='{name}'"])[0] == 0, said(place)
    assert losses(place, name) == usual


def test_outputs_may_stand_behind_a_link(
    tmp_path: Path, begin: Nursery, usual: dict[str, Any]
) -> None:
    place = tmp_path / "place"
    (tmp_path / "disk").mkdir()
    place.mkdir()
    (place / "out").symlink_to(tmp_path / "disk")
    assert begin(place, ARGV)[0] == 0, said(place)
    assert losses(tmp_path, "disk") == usual


def test_what_nobody_else_may_read_is_read_again(
    tmp_path: Path, begin: Nursery, usual: dict[str, Any]
) -> None:
    place = tmp_path / "place"
    for _ in range(2):
        status, _ = begin(place, ARGV, before=functools.partial(os.umask, 0o077))
        assert status == 0, said(place)
    assert "finished already" in said(place)
    assert losses(place) == usual
    assert not [path for path in place.rglob("*") if path.stat().st_mode & 0o077]


@pytest.fixture
def shared() -> Iterator[Path]:
    """Give a folder that any user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def passable(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)


def as_nobody() -> None:
    os.environ["HOME"] = "/nonexistent"
    os.umask(0)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


@pytest.mark.skipif(
    os.name != "posix"
    or os.geteuid() != 0
    or not all(map(passable, Path(sys.base_prefix).parents)),
    reason="root only becomes another user, who must be able to read Python",
)
def test_two_users_of_one_folder(shared: Path, begin: Nursery, usual: dict[str, Any]) -> None:
    place = shared / "place"
    assert begin(place, ARGV, before=functools.partial(os.umask, 0o022))[0] == 0, said(place)
    other = [*ARGV, "seed=1"]

    # A run is locked while it is looked at, so a store that one may only read is of no use.
    for command in (ARGV, other):
        status, _ = begin(place, command, before=as_nobody)
        assert os.waitstatus_to_exitcode(status) == 2
        assert re.fullmatch(r"suexp: cannot write .*out=DIR\n", said(place))
    assert losses(place) == usual

    # Where both may write, both do.
    subprocess.run(["chmod", "-R", "a+rwX", str(place)], check=True)
    assert begin(place, other, before=as_nobody)[0] == 0, said(place)
    assert begin(place, [*ARGV, "seed=2"], before=functools.partial(os.umask, 0))[0] == 0
    assert len(losses(place)) == 3
    owners = {path.stat().st_uid for path in (place / "out" / "runs").iterdir()}
    assert owners == {0, NOBODY}


def pause() -> None:
    """Stop this process at its first checkpoint; a child of it lets it go on."""
    ours = os.getpid()
    if os.fork() == 0:
        while True:
            if any(Path("out/runs").glob("*/checkpoints/*.ckpt")):
                os.kill(ours, signal.SIGSTOP)
                subprocess.run(["sleep", "0.5"], check=True)
                Path("paused").touch()
                os.kill(ours, signal.SIGCONT)
                os._exit(0)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")
def test_a_stopped_command_goes_on(tmp_path: Path, begin: Nursery, usual: dict[str, Any]) -> None:
    place = tmp_path / "place"
    status, _ = begin(place, [*ARGV, "trainer.checkpoint_seconds=0"], before=pause)
    assert status == 0, said(place)
    assert (place / "paused").exists()
    assert losses(place) == usual


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_killed_report_leaves_an_old_or_a_new_page(tmp_path: Path, begin: Nursery) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "tiny.yaml").write_text(EXPERIMENT + ARM)
    place = tmp_path / "place"
    assert begin(place, ["--config-dir", "../conf", "experiment=tiny", *ARGV])[0] == 0
    (folder,) = (place / "out" / "tiny").iterdir()
    again = ["report", str(folder)]
    assert begin(place, again)[0] == 0, said(place)
    pages = files_of(folder)
    for number in range(1, 100):
        status, where = begin(place, again, Moment("write", number))
        if status == 0:
            break
        assert status == signal.SIGKILL, said(place)
        print(number, where)
        assert {
            name: content for name, content in files_of(folder).items() if name in pages
        } == pages
    assert 2 < number < 100
    assert files_of(folder) == pages
