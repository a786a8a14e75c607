"""What a run's id depends on: its config, the code it can touch, the files it reads."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from suexp.code.local_files import local_files
from suexp.errors import UserError
from suexp.launch.spec import spec_of
from suexp.store import identity
from suexp.store.identity import Identity
from suexp.store.spec import RunSpec
from tests.support.tiny import forget_code, forget_compositions, tiny

PRETRAINED = ("transform=pretrained", "task=masked_lm", "mask=bidirectional")
MINE = """
from suexp.norm.layer import Layer
from suexp.component import Component
import my_helper

class Mine(Layer):
    \"\"\"A norm of the user's.\"\"\"
"""


def run_id(*overrides: str, config_dir: str | None = None) -> str:
    forget_code()
    forget_compositions()
    return spec_of(overrides, config_dir).id


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write a package of the user's with an option, and a helper beside it."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_norms").mkdir()
    (tmp_path / "conf" / "norm").mkdir(parents=True)
    (tmp_path / "conf" / "norm" / "mine.yaml").write_text(
        "_target_: my_norms.Mine\ndim: ${model.dim}\n"
    )

    def write(text: str = MINE, helper: str = "x = 1") -> None:
        (tmp_path / "my_norms" / "__init__.py").write_text(text)
        (tmp_path / "my_helper.py").write_text(helper)

    return write


@pytest.mark.slow
def test_an_edit_of_the_user_s_own_component_is_another_run(
    mine: Callable[..., None], tmp_path: Path
) -> None:
    own = ("norm=mine", "allow_targets=[my_norms]")
    conf = str(tmp_path / "conf")
    mine()
    before = run_id(*own, config_dir=conf)
    mine(MINE.replace("A norm of", "The norm of"))
    assert run_id(*own, config_dir=conf) == before  # words
    mine(MINE + "    bias = 1\n")
    edited = run_id(*own, config_dir=conf)
    mine(MINE, helper="x = 2")
    assert len({before, edited, run_id(*own, config_dir=conf)}) == 3
    mine()
    assert run_id(*own, config_dir=conf) == before


@pytest.mark.slow
def test_other_weights_under_the_same_name_are_another_run(tmp_path: Path) -> None:
    source = tmp_path / "bert"
    source.mkdir()
    (source / "config.json").write_text("{}")
    weights = source / "model.safetensors"
    weights.write_bytes(b"one")
    own = (*PRETRAINED, f"transform.source={source}")
    before, stat = run_id(*own), weights.stat()
    weights.write_bytes(b"two")
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run_id(*own) != before
    weights.write_bytes(b"one")
    (source / "notes.txt").write_text("nothing reads this")
    assert run_id(*own) == before
    child = ("transform=copy", f"parent={[*own]}".replace("'", '"'))
    parents = {run_id(*child)}
    weights.write_bytes(b"two")
    parents.add(run_id(*child))
    assert len(parents) == 2


def test_a_changed_data_file_is_another_run(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("abc def")
    own = ("data=files", f"data.train={path}")
    before, stat = run_id(*own), path.stat()
    path.write_text("abc dEf")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run_id(*own) != before


def test_what_is_recorded_only_is_no_part_of_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_id()
    assert run_id("threads=3", "trainer.enable_progress_bar=false", "logger=csv") == before
    assert run_id("allow_targets=[nobody]") == before
    spec = spec_of([])
    assert replace(spec, identity=replace(spec.identity, torch="2.0")).id != before


def test_an_id_stands_once_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(tiny(tmp_path, 'parent=["seed=3"]'))
    spec.save(tmp_path / "spec.json")
    monkeypatch.setattr(identity, "reach", lambda *_: {"another": "code"})
    assert spec_of(tiny(tmp_path, 'parent=["seed=3"]')).id != spec.id
    loaded = RunSpec.load(tmp_path / "spec.json", [])
    assert loaded.id == spec.id
    assert loaded.origins["parent"].id == spec.origins["parent"].id


def test_changes_are_named() -> None:
    old = Identity({"a": "1", "b": "1"}, "data1", {"w": "1"}, "2.1")
    now = Identity({"a": "1", "b": "2", "c": "1"}, "data2", {"w": "2"}, "2.2")
    assert old.changes(now) == [
        "code of b is not what it was",
        "code of c is not what it was",
        "file of w is not what it was",
        "the data were data1, are data2",
        "torch was 2.1, is 2.2",
    ]
    assert old.changes(old) == []


def test_every_path_of_a_transform_is_said_to_be_read() -> None:
    from suexp.config.catalogue import Catalogue

    for option in Catalogue().options("transform"):
        assert option.source is not None
        paths = {"source"} & {*option.source.signature.parameters}
        assert {*option.source.literal("paths", {})} == paths, option.name


def test_local_files_are_those_that_are_there(tmp_path: Path) -> None:
    node = {"_target_": "suexp.transform.pretrained.Pretrained", "source": str(tmp_path)}
    assert [*local_files({"transform": node})] == []
    (tmp_path / "config.json").touch()
    (tmp_path / "model.safetensors").touch()
    names = [path.name for path in local_files({"a": [node]})]
    assert names == ["config.json", "model.safetensors"]
    node["source"] = "bert-base-chinese"
    assert [*local_files(node)] == []
    node["source"] = str(tmp_path / "none")
    with pytest.raises(UserError, match=r"a.0.source: no file or folder .*none"):
        [*local_files({"a": [node]})]
