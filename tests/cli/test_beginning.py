"""``suexp new``: what it writes passes as it is."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suexp.cli import beginning
from tests.support.tiny import forget_code, forget_compositions

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that Python searches."""
    monkeypatch.syspath_prepend(str(in_tmp))
    monkeypatch.setenv("SUEXP_CACHE", str(in_tmp / "cache"))
    yield in_tmp
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_conf"]:
        del sys.modules[name]
    forget_code()
    forget_compositions()


@pytest.mark.parametrize("group", beginning.GROUPS)
def test_what_it_writes_passes_its_own_test(group: str, place: Path, call: Call) -> None:
    code, out, _ = call("new", group, "mine_own")
    assert code == 0
    files = {path.name for path in (place / "my_conf" / group).iterdir()}
    wanted = {"mine_own.py", "mine_own.yaml", "test_mine_own.py"}
    assert files == wanted - ({"mine_own.py"} if group == "experiment" else set())
    assert f"my_conf/{group}/mine_own.yaml\n" in out
    forget_code()
    forget_compositions()
    module = importlib.import_module(f"my_conf.{group}.test_mine_own")
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert len(tests) == (1 if group == "experiment" else 2)
    for test in tests:
        test(**dict.fromkeys(inspect.signature(test).parameters, place))
    for path in (place / "my_conf").rglob("*.py"):
        assert max(map(len, path.read_text("utf-8").splitlines())) <= 100, path


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["attentions", "a"], "new attentions: choose from attention, callback, "),
        (["attention", "Cosine"], "new attention: Cosine: a name is lower-case letters"),
        (["attention", "class"], "new attention: class: a name is lower-case letters"),
        (["attention", "performer"], "new attention performer: suexp has one of this name"),
        (["attention", "a", "--into", "my-conf"], "new attention: my-conf: a name is"),
    ],
)
def test_refusals(words: list[str], line: str, place: Path, call: Call) -> None:
    code, _, err = call("new", *words)
    assert code == 2
    assert err.startswith(f"suexp: {line}")
    assert err.count("\n") == 1
    assert list(place.iterdir()) == []


def test_nothing_is_written_over(place: Path, call: Call) -> None:
    assert call("new", "loss", "mine")[0] == 0
    path = place / "my_conf" / "loss" / "mine.py"
    path.write_text("mine\n")
    assert call("new", "loss", "mine")[0] == 2
    assert path.read_text() == "mine\n"
