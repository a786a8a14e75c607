"""The component that CONTRIBUTING.md adds works as it stands there."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from suexp.code.source import read

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_three_files_of_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = dict(re.findall(r"`(\S+)`, [^`]*?\n\n```\w+\n(.*?)```", TEXT, re.S))
    names = ["src/suexp/scheduler/square.py", "conf/scheduler/square.yaml"]
    assert [*blocks] == [*names, "tests/scheduler/test_square.py"]
    code, option, test = blocks.values()
    (tmp_path / "square.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    node = yaml.safe_load(option)
    assert node["_target_"] == "suexp.scheduler.square.Square"
    source = read("square.Square")
    assert source is not None
    given = {"optimizer", "total_steps", "_target_", "_partial_"}  # by the run, and Hydra's
    assert {*source.signature.parameters} - given == {*node} - given
    monkeypatch.setitem(sys.modules, "suexp.scheduler.square", __import__("square"))
    found: dict[str, object] = {}
    exec(test, found)
    cases = [value for name, value in found.items() if name.startswith("test_")]
    assert len(cases) == 1
    for case in cases:
        case()  # type: ignore[operator]
