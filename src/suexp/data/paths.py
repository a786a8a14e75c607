"""The files that a path, a glob or a list of them names."""

import difflib
import glob
import itertools
from collections.abc import Iterable
from pathlib import Path

from suexp.errors import UserError

Paths = str | list[str] | None


def found_files(key: str, paths: Paths) -> list[Path]:
    """Return the files that paths and globs name, each glob's in sorted order.

    Args:
        key: the config key that holds them, for messages.
        paths: relative to the folder that suexp is started in.

    Raises:
        UserError: there is none, with the near match.
    """
    patterns: Iterable[str] = [paths] if isinstance(paths, str) else paths or []
    found = [path for pattern in patterns for path in _matching(key, pattern)]
    if not found:
        raise UserError(f"{key} names no file; give it a path, for example {key}=my_text.txt")
    return found


def _matching(key: str, pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        raise UserError(
            f"{key}: {pattern} is a folder; name its files, for example {pattern}/*.txt"
        )
    if path.is_file():
        return [path]
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207
    if files := [item for item in found if item.is_file()]:
        fixed = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
        return staying_inside(key, Path(*fixed), files)
    there = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, there, n=1)
    hint = (
        f"did you mean {path.parent / near[0]}?" if near else f"looked in {path.parent.absolute()}"
    )
    raise UserError(f"{key}: no file {pattern}; {hint}")


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
