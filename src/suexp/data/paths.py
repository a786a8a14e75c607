"""The files that a path, a glob or a list of them names."""

import difflib
import glob
import itertools
import os
from collections.abc import Iterable
from pathlib import Path

from suexp.code.local_files import local_path
from suexp.errors import UserError

Paths = str | list[str] | None


def found_files(key: str, paths: Paths) -> list[Path]:
    """Return the files that paths and globs name, each glob's in sorted order.

    Args:
        key: the config key that holds them, for messages.
        paths: relative to the folder that suexp is started in; ``**`` follows no link.

    Raises:
        UserError: there is none, with the near match; a pipe, a device or a broken link.
    """
    patterns: Iterable[str] = [paths] if isinstance(paths, str) else paths or []
    found = [path for pattern in patterns for path in _matching(key, pattern)]
    if not found:
        raise UserError(f"{key} names no file; give it a path, for example {key}=my_text.txt")
    return found


def _matching(key: str, pattern: str) -> list[Path]:
    path = local_path(key, pattern)
    if path.is_dir():
        raise UserError(
            f"{key}: {pattern} is a folder; name its files, for example {pattern}/*.txt"
        )
    if path.exists():
        return only_files(key, [path])
    fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
    found = [item for item in _globbed(path, fixed) if not item.is_dir()]
    if found:
        return staying_inside(key, fixed, only_files(key, found))
    there = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, there, n=1)
    hint = (
        f"did you mean {path.parent / near[0]}?" if near else f"looked in {path.parent.absolute()}"
    )
    raise UserError(f"{key}: no file {pattern}; {hint}")


def _globbed(path: Path, fixed: Path) -> list[Path]:
    """Return what a glob finds, sorted; ``**`` follows no link, which may lead in a circle."""
    if "**" not in path.parts:
        return sorted(Path(name) for name in glob.glob(str(path)))  # noqa: PTH207
    wanted = path.relative_to(fixed)
    found = fixed.glob(str(wanted / "*" if wanted.name == "**" else wanted))
    if any(part.startswith(".") for part in wanted.parts):
        return sorted(found)
    return sorted(
        item
        for item in found
        if not any(part.startswith(".") for part in item.relative_to(fixed).parts)
    )


def only_files(key: str, files: list[Path]) -> list[Path]:
    """Return the files; what is none would be waited for, or has no end.

    Raises:
        UserError: a pipe, a device or a broken link is among them.
    """
    for file in files:
        if not file.is_file():
            what = "a pipe or a device" if file.exists() else "a broken link"
            raise UserError(f"{key}: {file} is {what}; name a file")
        if not os.access(file, os.R_OK):
            raise UserError(f"{key}: {file} may not be read; see chmod")
    return files


def staying_inside(key: str, folder: Path, files: list[Path]) -> list[Path]:
    """Return a folder's files; a link in it must not bring in what lies elsewhere.

    Raises:
        UserError: one leads out of the folder.
    """
    for file in files:
        if not file.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"{key}: {file} leads out of {folder}, to {file.resolve()}; if you want it, "
                "name that file itself"
            )
    return files
