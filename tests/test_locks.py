"""Locks hold where the file system has no flock, and are seen by whoever may not write them."""

import fcntl
import os
from pathlib import Path

import pytest
from filelock import Timeout

from suexp import locks
from suexp.locks import WITHOUT_FLOCK, acquired, is_held


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.parametrize("number", [None, *WITHOUT_FLOCK])
def test_one_holds_it_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number or 0))

    if number is not None:
        monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / ".lock"
    lock = acquired(path)
    assert is_held(path)
    with pytest.raises(Timeout):
        acquired(path, timeout=0)
    lock.release()
    assert not is_held(path)


def test_a_file_in_the_way_is_no_missing_flock(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        acquired(tmp_path / "file" / ".lock")


def test_another_user_s_lock_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".lock"
    lock = acquired(path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(locks, "acquired", refuse)
    assert is_held(path)
    lock.release()
    assert not is_held(path)
