"""What a constructor refuses is worked out from its source, and never more than that."""

from pathlib import Path
from typing import Any

import pytest

from suexp.code import source
from suexp.code.refusals import refusal

MODULE = """
import math
import torch
from suexp.errors import at_least, between, one_of, some

KINDS = {"a": torch.relu, "b": lambda x: x}
LARGEST = 2**4

def ends(low, high):
    if low is None:
        return
    if low > high:
        raise ValueError(f"low {low} is above high={high}")

class Part:
    def __init__(self, width, depth=1):
        at_least(1, width=width)
        if depth > LARGEST:
            raise ValueError(f"depth must be at most {LARGEST}, not {depth}")

class Base:
    def __init__(self, share, **rest):
        between("[0, 1)", share=share)

class Shown(Base):
    def __init__(self, size=1, kind="a", share=0.5, low=None, high=1, sizes=(), part=None, odd=1):
        super().__init__(share)
        at_least(1, size=size, sizes=sizes)
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
        ends(low, high)
        for entry in sizes:
            if entry % 2 and not odd:
                raise ValueError("sizes must be even")
        found = []
        found.append(size)
        if not found:
            raise ValueError("a list that was filled")
        self.root = math.isqrt(size)
        if self.root > 9 and part.is_small:
            raise ValueError("needs the part itself")
        if torch.rand(1) > 2:
            raise ValueError("needs torch")
        self.part = Part(size, depth=high)

class Filled:
    def __init__(self, params, targets="") -> None:
        self.names = {}
        for p in params:
            self.names[p] = targets
        if not self.names:
            raise ValueError("nothing matches")


class Endless:
    def __init__(self, count):
        for i in range(count):
            for j in range(count):
                for k in range(count):
                    pass
        if count > 0:
            raise ValueError("late")
"""


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "shown_refusals.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda name, **values: refusal(source.read(f"shown_refusals.{name}"), values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, ""),
        ({"size": 0}, "size must be at least 1, not 0"),
        ({"sizes": [4, 0]}, "sizes must be at least 1, not 0"),
        ({"kind": "c"}, "kind must be one of a, b, not 'c'"),
        ({"kind": "b"}, ""),
        ({"share": 1.0}, "share must be in [0, 1), not 1.0"),
        ({"low": 2, "high": 1}, "low 2 is above high=1"),
        ({"low": None, "high": 1}, ""),
        ({"sizes": [2, 3], "odd": 0}, "sizes must be even"),
        ({"sizes": [2, 3], "odd": 1}, ""),
        ({"size": 5, "high": 17}, "depth must be at most 16, not 17"),
        ({"size": 200, "part": {"_target_": "x.Y"}}, ""),
        ({"size": "many"}, ""),  # of another type, which others tell
    ],
)
def test_a_constructor_is_worked_out(read: Any, values: dict[str, Any], said: str) -> None:
    assert read("Shown", **values) == said


def test_what_takes_long_is_left_to_the_constructor(read: Any) -> None:
    assert read("Endless", count=1) == "late"
    assert read("Endless", count=9_999) == ""
    assert read("Endless", count=10**12) == "late"  # the loop is not gone through


def test_what_an_unknown_statement_may_have_filled_is_unknown(read: Any) -> None:
    assert read("Filled", targets="a") == ""
