"""Values in any language need no quotes."""

import random
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import OverrideParseException

from suexp.config.quoting import readable

PARSER = OverridesParser.create()


def plain(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def read(override: str) -> Any:
    """Return what Hydra reads: a value, or the values of a sweep."""
    found = PARSER.parse_override(override)
    sweep = found.value()
    if found.is_choice_sweep():
        return ("sweep", plain(sweep.list))  # type: ignore[union-attr]
    return plain(sweep) if not found.is_sweep_override() else str(sweep)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("数据.csv", "数据.csv"),
        ("数据.csv,b.csv", ("sweep", ["数据.csv", "b.csv"])),
        ("[数据, b]", ["数据", "b"]),
        ("{a:[b,数据],c:{d:é}}", {"a": ["b", "数据"], "c": {"d": "é"}}),
        ("choice(数据,b)", ("sweep", ["数据", "b"])),
        ("a#b", "a#b"),
        ("a & b; c!", "a & b; c!"),
        ("Hello (world)!", "Hello (world)!"),
        ("file(1).csv", "file(1).csv"),
        ("[red] or blue?", "[red] or blue?"),
        ("a[1]", "a[1]"),
        ("it's", "it's"),
        ("it's a 'quote'", "it's a 'quote'"),
        ("[seed=1,optimizer.lr=1e-3]", ["seed=1", "optimizer.lr=1e-3"]),
        ("a=b", "a=b"),
        (r"a\,数据", "a,数据"),
        (r"C:\数据\x.csv", r"C:\数据\x.csv"),
        ("数据${seed}.csv", "数据${seed}.csv"),
        ("50% <ok> ~x^2", "50% <ok> ~x^2"),
        ("«один», два", ("sweep", ["«один»", "два"])),
    ],
)
def test_words_in_any_language(typed: str, meant: Any) -> None:
    assert read(readable(f"x={typed}")) == meant
    assert read(readable(f"++x.y={typed}")) == meant


@pytest.mark.parametrize("wrong", ["(a", "[1,2", "'a b", "==1", "a\n数", "[a}", "'数"])
def test_what_is_wrong_stays_as_it_is(wrong: str) -> None:
    assert readable(f"x={wrong}") == f"x={wrong}"


@pytest.mark.parametrize("word", ["list", "--数据=1", "~x", "数据=1", "a b=数"])
def test_what_is_no_override_stays_as_it_is(word: str) -> None:
    assert readable(word) == word


def test_what_hydra_reads_keeps_its_meaning() -> None:
    """Of values drawn from Hydra's signs and others, those that it reads are left as they are."""
    rng, read_before, read_after = random.Random(0), 0, 0
    signs = [*"ab1.5,:[]{}()'\" \\$-+%/", "${seed}", "数", "é", "#", "!", "=", "range(1,3)", "null"]
    for _ in range(4000):
        override = "x=" + "".join(rng.choices(signs, k=rng.randint(1, 7)))
        try:
            before = read(override)
        except Exception:
            before = OverrideParseException
        try:
            after = read(readable(override))
        except Exception:
            after = OverrideParseException
        read_before += before is not OverrideParseException
        read_after += after is not OverrideParseException
        if before is not OverrideParseException:
            assert str(after) == str(before), override
    assert read_after > 1.3 * read_before
