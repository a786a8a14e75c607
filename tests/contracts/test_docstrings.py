"""Every component says what it computes, on what shapes, and where that comes from."""

import re
from typing import Any

import pytest

from suexp.code.source import read
from suexp.config.catalogue import Catalogue

# Parts of the machinery, not ideas of a post: their YAML comment is enough.
MACHINERY = {"logger", "trainer", "scale", "experiment"}
CATALOGUE = Catalogue()
COMPONENTS = [
    f"{group}/{option}"
    for group, options in CATALOGUE.groups.items()
    for option in options
    if group not in MACHINERY and CATALOGUE.option(group, option).target
]
# Nothing is computed on tensors of some shape here.
SHAPELESS = {"scheduler", "optimizer", "init", "data", "transform", "task", "method"}


def node_of(name: str) -> dict[str, Any]:
    """Return what an option gives its class; of several that compose it stands one level down."""
    group, option = name.split("/")
    content = CATALOGUE.option(group, option).content
    return content if "_target_" in content else content[option]


def docstring(name: str) -> str:
    source = read(node_of(name)["_target_"])
    assert source is not None
    return "\n".join(target.doc for target in source.lineage)


@pytest.mark.parametrize("name", COMPONENTS)
def test_names_its_source(name: str) -> None:
    assert re.search(r"https?://|arXiv:|doi\.org", docstring(name)), "no post, paper or standard"


@pytest.mark.parametrize("name", [n for n in COMPONENTS if not n.startswith("data/")])
def test_states_an_equation(name: str) -> None:
    assert re.search(r"\$[^$]+\$|\S = \S|<-|←", docstring(name)), "no equation"


@pytest.mark.parametrize("name", [n for n in COMPONENTS if n.split("/")[0] not in SHAPELESS])
def test_states_shapes(name: str) -> None:
    text = docstring(name)
    assert re.search(r"\([a-zA-Z_]+(?:, ?[\w .|*+-]+)+\)|\(n\)|[Ss]hape|of size|dim", text)


@pytest.mark.parametrize("name", COMPONENTS)
def test_explains_every_parameter(name: str) -> None:
    text = docstring(name)
    keys = [key for key in node_of(name) if not key.startswith("_") and key != "defaults"]
    missing = [key for key in keys if not re.search(rf"\b{key}\b", text)]
    assert not missing, f"not explained: {missing}"
