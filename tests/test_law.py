"""The law between the folders: config -> run -> results -> verdict -> report, and never back."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import suexp
from suexp.code.reach import imports
from suexp.folders import conf_dir

SOURCE = Path(suexp.__file__).parent
FOLDERS = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}
LOOKS = {"contract", "judge", "report", "experiment", "study", "launch", "cli"}
GROUPS = ({path.name for path in conf_dir().iterdir()} & FOLDERS - LOOKS) | {"nn"}
# What must not be imported, by whom.
LAW = {
    **dict.fromkeys(GROUPS, LOOKS | {"config", "job"}),
    "code": FOLDERS - {"code"},
    "config": FOLDERS - {"config", "code"},
    "store": FOLDERS - {"store", "code"},
    "job": LOOKS | {"config"},
    "judge": FOLDERS - {"judge", "store"},
    "report": {"job", "launch", "experiment", "study", "cli"},
    "contract": LOOKS - {"contract"} | {"config", "store", "job"},
    "launch": {"judge", "report", "experiment", "study", "cli"},
    "experiment": {"job", "study", "cli"},
    "study": {"experiment", "cli"},
}


def edges(folder: str) -> Iterator[tuple[str, str]]:
    """Give each module of a folder with each folder that it imports from."""
    for path in sorted((SOURCE / folder).rglob("*.py")):
        package = ".".join(["suexp", *path.parent.relative_to(SOURCE).parts])
        for name in imports(ast.parse(path.read_bytes()), package):
            parts = name.split(".")
            if parts[0] == "suexp" and len(parts) > 1 and parts[1] in FOLDERS:
                yield path.relative_to(SOURCE).as_posix(), parts[1]


@pytest.mark.parametrize("folder", sorted(FOLDERS - {"cli"}))
def test_no_folder_imports_what_comes_after_it(folder: str) -> None:
    assert [edge for edge in edges(folder) if edge[1] in LAW[folder]] == []
