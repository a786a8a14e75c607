"""YAML files, read as OmegaConf reads them."""

import time
from pathlib import Path

import pytest

from suexp.config.yaml_file import lines_of, load_yaml
from suexp.errors import UserError


def test_yaml_is_read_as_omegaconf_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1e-3\nb: 2023-02-16\nc: 12e\nd: -1E+2\ne: 5\nf: .5e1\ng: 1.5\nh: yes\n")
    from omegaconf import OmegaConf

    assert load_yaml(path) == OmegaConf.to_container(OmegaConf.load(path))
    assert load_yaml(path)["a"] == 1e-3
    assert load_yaml(path)["b"] == "2023-02-16"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1\nb: 2\n", "line 2: not YAML"),
        (b"a: 1\nb: 2\na: 3\n", "line 3: a stands twice, first in line 1"),
        (b"a: {b: 1, b: 2}\n", "line 1: b stands twice"),
        (b"a: &a [*a]\n", "line 1: its aliases stand for more than"),
        (b"a: " + b"[" * 5000, "a.yaml"),
        (b"\n- 1\n", "line 2: expected `key: value` lines, found a list"),
        (b"\xff\xfe", "cannot be read"),
        (b"a: \x01\n", "not YAML"),
        (b"a: " + b"9" * 5000, "Exceeds the limit (4300 digits)"),
    ],
)
def test_a_broken_yaml_is_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.yaml") as raised:
        load_yaml(path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_aliases_of_aliases_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    lines = ["a0: &a0 [1]", *(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 10}]" for i in range(1, 40))]
    path.write_text("\n".join(lines))
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"line 6: its aliases stand for more than 100000 values"):
        load_yaml(path)
    assert time.perf_counter() - start < 1


def test_lines_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# a comment\na:\n  b:\n    - 1\n    - {c: 2}\n")
    assert lines_of(path, ["a", "b", 1, "c"]) == [2, 3, 5, 5]
    assert lines_of(path, ["a", "x", 1]) == [2]
    assert lines_of(path, ["a", "b", 7]) == [2, 3]
    assert lines_of(path, []) == []
