"""The catalogue and the sources behind it, read without importing a component."""

import subprocess
import sys
from pathlib import Path

import pytest

from suexp.code import source
from suexp.code.source import meanings, read, sections
from suexp.config.catalogue import Catalogue, has_key, merge
from suexp.errors import UserError
from suexp.folders import conf_dir, experiments_dir
from tests.cli.tree import write_tree


@pytest.fixture
def small(tmp_path: Path) -> Catalogue:
    return Catalogue(base=write_tree(tmp_path))


def test_the_shipped_folders_exist() -> None:
    assert (conf_dir() / "config.yaml").is_file()
    assert experiments_dir().name == "experiments"
    assert "task" in Catalogue().groups


def test_groups_and_defaults(small: Catalogue) -> None:
    assert list(small.groups["position"]) == ["alibi", "learned", "rope"]
    assert small.defaults["attention"] == "softmax"
    assert small.defaults["transform"] is None
    assert "hydra/sweeper" not in small.defaults
    assert [f"{o.group}={o.name}" for o in small.named("performer")] == [
        "attention=performer",
        "experiment=performer",
    ]


def test_an_option_starts_from_its_defaults(small: Catalogue) -> None:
    assert small.option("trainer", "long").content == {"max_steps": 100}
    assert small.option("trainer", "long").raw == {"max_steps": 100}
    assert small.option("trainer", "long").comment == "More steps."


def test_a_package_header_places_the_content(small: Catalogue) -> None:
    assert small.option("attention", "softmax").placed == {
        "attention": {"_target_": "tiny_parts.Softmax", "dropout": 0.0}
    }
    smoke = small.option("scale", "smoke")
    assert smoke.placed == {"scale": {"name": "smoke"}, "trainer": {"max_steps": 3, "limit": 2}}
    assert smoke.description == "Seconds."


def test_nested_groups_and_packages(tmp_path: Path) -> None:
    conf = write_tree(tmp_path)
    (conf / "data" / "large").mkdir()
    (conf / "data" / "large" / "wiki.yaml").write_text("# @package data.source\nsize: 3\n")
    (conf / "hydra" / "help").mkdir(parents=True)
    (conf / "hydra" / "help" / "mine.yaml").write_text("a: 1\n")
    catalogue = Catalogue(base=conf)
    assert catalogue.option("data/large", "wiki").placed == {"data": {"source": {"size": 3}}}
    assert not any(group.startswith("hydra") for group in catalogue.groups)


def test_ones_own_options_are_added_and_cannot_shadow(tmp_path: Path) -> None:
    conf = write_tree(tmp_path)
    mine = tmp_path / "mine" / "attention"
    mine.mkdir(parents=True)
    (mine / "cosine.yaml").write_text("# Mine.\n_target_: mine.Cosine\n")
    catalogue = Catalogue(tmp_path / "mine", base=conf)
    assert list(catalogue.groups["attention"]) == ["cosine", "performer", "softmax"]
    (mine / "softmax.yaml").write_text("# Mine.\n_target_: mine.Softmax\n")
    with pytest.raises(UserError, match="attention=softmax exists already; rename yours"):
        _ = Catalogue(tmp_path / "mine", base=conf).groups


def test_the_keys_are_those_of_all_choices(small: Catalogue) -> None:
    keys = small.keys()
    assert set(keys["optimizer"]) == {"_target_", "lr", "betas", "momentum_dtype"}
    assert set(keys["trainer"]) == {"max_steps", "limit"}
    assert "arms" not in keys
    assert set(small.keys(["lion"])["arms"]) == {"adamw", "lion"}
    assert list(small.experiments_with("extra")) == ["performer"]
    assert list(small.experiments_with("callbacks.noise.every")) == ["lion"]
    assert list(small.experiments_with("nothing")) == []


def test_has_key() -> None:
    tree = {"a": {"b": 1, "c": None, "d": [1], "e": "${x}"}}
    assert has_key(tree, ["a", "b"])
    assert not has_key(tree, ["a", "x"])
    assert not has_key(tree, ["a", "b", "x"])
    assert all(has_key(tree, ["a", name, "x"]) for name in "cde")
    assert not has_key(tree, ["a", "c", "x"], exact=True)


def test_merge() -> None:
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}, "d": 4}) == {
        "a": {"b": 1, "c": 3},
        "d": 4,
    }
    assert merge({"a": {"b": 1}}, {"a": "x"}) == {"a": "x"}


def test_every_group_has_a_description() -> None:
    catalogue = Catalogue()
    assert [group for group in catalogue.groups if not catalogue.describe(group)] == []


PACKAGE = {
    "__init__.py": "from aliased.base import Base as Renamed\n",
    "base.py": '''
from typing import ClassVar

import torch
from torch import nn


class Plain:
    needs: ClassVar[dict[str, str]] = {"a": "because"}


class Base(nn.Module, Plain):
    """Base.

    Args:
        dim: how wide.
    """

    provides = {"base"}

    def __init__(self, dim: int, *, bias: bool = True) -> None: ...


class Open(torch.optim.Optimizer):
    pass
''',
    "child.py": '''
"""A module."""
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import base as b
from .base import Open

if TYPE_CHECKING:
    from .base import Base


class Child(b.Base):
    """Child, $x = y$.

    Args:
        lr: how fast; a colon: inside,
            and a second line.
        a, b: both.

    Raises:
        ValueError: never.
    """

    def __init__(self, lr: float = 0.1, **kwargs: int) -> None:
        """Build it."""


class Silent(b.Plain):
    pass


class Unknown(Open):
    pass


@dataclass(frozen=True)
class Fields(b.Plain):
    x: int
    y: str = "a"


class Loop(Loop):
    pass


def function(z: int, *, w: float = 1.0): ...
''',
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "aliased"
    folder.mkdir()
    for name, text in PACKAGE.items():
        (folder / name).write_text(text)
    (folder / "namespace").mkdir()
    (folder / "namespace" / "deep.py").write_text("class Deep:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    source.package_path.cache_clear()
    source.read.cache_clear()


@pytest.mark.usefixtures("package")
def test_a_signature_goes_up_the_bases() -> None:
    child = read("aliased.child.Child")
    assert child is not None
    assert list(child.signature.parameters) == ["dim", "bias", "lr"]
    assert not child.signature.open
    assert [item.name for item in child.lineage] == ["Child", "Base", "Plain"]
    assert child.literal("provides", ()) == {"base"}
    assert child.literal("needs", {}) == {"a": "because"}
    assert child.literal("refuses", {}) == {}
    assert child.doc.endswith("Build it.")


@pytest.mark.usefixtures("package")
def test_signatures_of_other_kinds() -> None:
    signatures = {
        name: read(f"aliased.child.{name}").signature  # type: ignore[union-attr]
        for name in ("Silent", "Unknown", "Fields", "function")
    }
    assert {name: list(s.parameters) for name, s in signatures.items()} == {
        "Silent": [],
        "Unknown": [],
        "Fields": ["x", "y"],
        "function": ["z", "w"],
    }
    assert signatures["Unknown"].open
    assert not signatures["Silent"].open


@pytest.mark.usefixtures("package")
def test_names_are_followed_through_imports() -> None:
    renamed = read("aliased.Renamed")
    assert renamed is not None
    assert renamed.name == "Base"
    assert read("aliased.namespace.deep.Deep") is not None
    assert read("suexp.norm.RMS") is not None  # found by file name, see suexp.lazy
    for missing in ("aliased.child.Missing", "aliased.missing.X", "nowhere.X", "math.sqrt", "x"):
        assert read(missing) is None
    loop = read("aliased.child.Loop")
    assert loop is not None


@pytest.mark.usefixtures("package")
def test_a_declaration_that_is_no_literal_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "aliased" / "odd.py").write_text("class Odd:\n    needs = dict(a='b')\n")
    odd = read("aliased.odd.Odd")
    assert odd is not None
    with pytest.raises(UserError, match=r"odd\.py, line 2: needs of Odd .* write it as a literal$"):
        odd.literal("needs", {})


@pytest.mark.usefixtures("package")
def test_docstrings_are_taken_apart() -> None:
    child = read("aliased.child.Child")
    assert child is not None
    assert meanings(child.doc) == {
        "lr": "how fast; a colon: inside, and a second line.",
        "a": "both.",
        "b": "both.",
    }
    assert sections(child.doc)[""] == "Child, $x = y$.\n\nBuild it."
    assert sections(child.doc)["Raises"].strip() == "ValueError: never."
    assert child.module.doc == "A module."


def test_reading_imports_no_component() -> None:
    program = """
import sys
from suexp.config.catalogue import Catalogue
from suexp.code.source import read
catalogue = Catalogue()
for group in catalogue.groups:
    for option in catalogue.options(group):
        option.description, option.content, option.source and option.source.signature
heavy = {"torch", "hydra", "omegaconf", "pytorch_lightning", "importlib.metadata"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
