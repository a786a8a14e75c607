"""What code a name can touch, and which edits of it count."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from suexp.code.reach import digest, reach
from tests.support.tiny import forget_code

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write files of the user's own, which Python can import."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / f"{name.replace('_in_', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        forget_code()

    return write


def test_imports_are_followed_wherever_they_stand(write: Write) -> None:
    write(
        mine_in_part="""
from typing import TYPE_CHECKING
from . import beside
if TYPE_CHECKING:
    import mine.only_types
class Part:
    def forward(self):
        from mine.late import value
        import helper
""",
        mine_in_beside="from suexp.attention import Performer",
        mine_in_late="value = 1",
        mine_in_only_types="",
        helper="import numpy, os",
    )
    found = reach(["mine.part.Part"])
    own = {name for name in found if not name.startswith("suexp")}
    assert own == {"mine.part", "mine.beside", "mine.late", "helper"}
    assert {"suexp.attention", "suexp.attention.performer", "suexp.lazy"} <= {*found}
    assert "suexp.attention.linear" not in found
    assert not {"mine", "numpy", "os", "torch"} & {*found}


def test_a_package_s_own_file_counts(write: Write) -> None:
    write(mine_in___init__="x = 1", mine_in_part="class Part: pass")
    assert {*reach(["mine.part.Part"])} == {"mine", "mine.part"}


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('"""Said otherwise."""\nclass Part:\n    """Too."""\n    x = 1  # why\n', True),
        ("class Part:\n\n    x = (1)\n", True),
        ("class Part:\n    x = 2\n", False),
        ("class Part:\n    x = 1\n    y = 'text'\n", False),
    ],
)
def test_words_are_no_code(write: Write, text: str, same: bool) -> None:
    write(part='"""A module."""\nclass Part:\n    """A class."""\n    x = 1\n')
    before = digest(["part.Part"])
    write(part=text)
    assert (digest(["part.Part"]) == before) is same


def test_an_edit_counts_for_all_that_reach_it(write: Write) -> None:
    write(a="import b", b="import c", c="x = 1", d="x = 1")
    before = {name: digest([name]) for name in "abcd"}
    write(c="x = 2")
    assert {name for name in "abcd" if digest([name]) != before[name]} == {*"abc"}


def test_a_file_that_nobody_imports_changes_nothing(write: Write) -> None:
    write(a="x = 1")
    before = digest(["a"])
    write(b="import a")
    assert digest(["a"]) == before


def test_circles_end(write: Write) -> None:
    write(a="import b", b="import a")
    assert {*reach(["a"])} == {"a", "b"}


def test_installed_packages_are_followed_where_they_are_allowed() -> None:
    assert reach(["lion_pytorch.Lion"]) == {}
    assert "lion_pytorch.lion_pytorch" in reach(["lion_pytorch.Lion"], ["lion_pytorch"])


def test_what_cannot_be_parsed_stands_for_itself(write: Write) -> None:
    write(a="import b", b="def (")
    before = digest(["a"])
    write(b="def ((")
    assert digest(["a"]) != before


def test_an_optimizer_reaches_no_other() -> None:
    found = reach(["suexp.optimizer.lion.Lion"])
    assert {name for name in found if name.startswith("suexp.optimizer.")} == {
        "suexp.optimizer.base",
        "suexp.optimizer.lion",
    }


def test_a_run_does_not_reach_what_only_looks() -> None:
    found = {name.split(".")[1] for name in reach(["suexp.job.run"]) if "." in name}
    looks = {"judge", "report", "experiment", "study", "launch", "cli", "config", "api", "near"}
    assert not found & looks
    assert "suexp._version" not in reach(["suexp.job.run"])


def test_data_reach_what_their_rows_come_from() -> None:
    found = reach(["suexp.data.docstring_summary.DocstringSummary"])
    assert {"suexp.data.docstring_pairs", "suexp.data.joining", "suexp.data.tokenizer"} <= {*found}
    assert "suexp.data.digits" not in found


def test_nothing_is_imported() -> None:
    sys.modules.pop("suexp.callback.leak", None)
    assert "suexp.callback.leak" in reach(["suexp.callback.leak.Leak"])
    assert "suexp.callback.leak" not in sys.modules
