"""Folders of prepared data: each is built once, however many processes ask for it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from suexp.contents import cache_dir, content_hash
from suexp.errors import UNWRITABLE, Unwritable
from suexp.locks import acquired

MANIFEST = "manifest.json"


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """Return the folder ``name`` of the cache, filled by ``build`` if it is missing or damaged.

    The folder appears whole or not at all: it is built beside its place, under a lock that makes
    other processes wait, and renamed.

    Args:
        name: the folder's name; it must say everything that the content depends on.
        build: fills an empty folder.

    Raises:
        Unwritable: the cache cannot be written.
    """
    folder = cache_dir() / "data" / name
    if _whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = acquired(Path(f"{folder}.lock"))
        try:
            if not _whole(folder):
                _fill(folder, build)
        finally:
            lock.release()
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise Unwritable(
                f"cannot write to {cache_dir()}: {error.strerror}; "
                "choose another folder for prepared data with SUEXP_CACHE=DIR"
            ) from error
        raise
    return folder


def _fill(folder: Path, build: Callable[[Path], None]) -> None:
    temporary = folder.with_name(f"{folder.name}.tmp")
    for leftover in (temporary, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir()
    try:
        build(temporary)
        (temporary / MANIFEST).write_text(_manifest(temporary), encoding="utf-8")
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _whole(folder: Path) -> bool:
    try:
        said = (folder / MANIFEST).read_text(encoding="utf-8")
        return said != "{}" and said == _manifest(folder)
    except OSError:
        return False


def _manifest(folder: Path) -> str:
    """Return what is in a folder: each file's name and hash, which is taken once for each file."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    return json.dumps({path.name: content_hash(path) for path in files})
