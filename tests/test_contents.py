"""A file is read once, and again as soon as it is another."""

import os
import time
from pathlib import Path

import pytest

from suexp import contents
from suexp.contents import cache_dir, content_hash, remembered
from suexp.errors import UserError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUEXP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "SETTLED_NS", -1)  # as if the file were old
    path = tmp_path / "file.txt"
    path.write_text("abc")
    return path


def test_an_unchanged_file_is_not_read_again(file: Path) -> None:
    assert remembered(file, "a", lambda path: path.read_text()) == "abc"
    assert remembered(file, "a", lambda path: 1 / 0) == "abc"  # type: ignore[arg-type, return-value]
    assert remembered(file, "b", lambda path: "another reading") == "another reading"


def test_a_file_of_equal_size_and_time_is_another(file: Path) -> None:
    before, stat = content_hash(file), file.stat()
    file.write_text("xyz")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_mtime_ns == stat.st_mtime_ns
    assert content_hash(file) != before


def test_a_file_put_in_its_place_is_another(file: Path) -> None:
    before, stat = content_hash(file), file.stat()
    other = file.with_name("other.txt")
    other.write_text("xyz")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(file)
    assert content_hash(file) != before


def test_a_fresh_file_is_not_remembered(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "SETTLED_NS", 10**12)
    assert remembered(file, "a", lambda path: path.read_text()) == "abc"
    assert remembered(file, "a", lambda path: "read again") == "read again"


def test_without_a_cache_nothing_is_lost(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUEXP_CACHE", str(file))  # no folder
    assert len(content_hash(file)) == 64


def test_the_hash_is_sha256_of_the_bytes(file: Path) -> None:
    assert content_hash(file).startswith("ba7816bf8f01cfea414140de5dae2223")
    assert time.time_ns() > file.stat().st_mtime_ns


def test_without_a_home_a_folder_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUEXP_CACHE", "~nobody-of-that-name/cache")
    with pytest.raises(UserError, match=r"no home folder .* choose one with SUEXP_CACHE=DIR"):
        cache_dir()
