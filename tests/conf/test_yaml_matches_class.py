"""An option's YAML, file and class say the same; read from the source, so that torch stays out."""

import ast
from typing import Any

import pytest

from suexp.code.source import Target, read
from suexp.config.catalogue import Catalogue, Option

CATALOGUE = Catalogue()
OPTIONS = [
    option
    for group in CATALOGUE.groups
    if group != "experiment"
    for option in CATALOGUE.options(group)
]
NODES = [
    pytest.param(option, path, target, id=f"{option.group}/{option.name}{path and '.' + path}")
    for option in OPTIONS
    for path, target in option.targets()
    if target.startswith("suexp.")
]
# Given by the runner while it builds, so no YAML can hold them.
BUILD_TIME = {
    "data",
    "folder",
    "input_dim",
    "label_names",
    "loss",
    "model",
    "num_classes",
    "num_labels",
    "num_outputs",
    "optimizer",
    "params",
    "scheduler",
    "total_steps",
    "vocab_size",
}
MISSING = object()


def node_of(option: Option, path: str) -> dict[str, Any]:
    node = option.content
    for part in path.split(".") if path else []:
        node = node[part]
    return {key: value for key, value in node.items() if not key.startswith("_")}


def source_of(target: str) -> Target:
    source = read(target)
    assert source is not None, f"{target} does not exist"
    return source


@pytest.mark.parametrize(("option", "path", "target"), NODES)
def test_keys_are_the_constructors(option: Option, path: str, target: str) -> None:
    parameters = set(source_of(target).signature.parameters)
    keys = set(node_of(option, path))
    assert keys - parameters == set(), "the constructor does not take these keys"
    assert parameters - keys - BUILD_TIME == set(), "the YAML does not list these arguments"


def presets_of(option: Option) -> list[Option]:
    """Return an option that has another one's class, with other values, and such between them."""
    files = [option, *option.ancestors()]
    return [file for file in files if file.ancestors() and "_target_" not in file.raw]


# What suits the small default model, where the class has the paper's value.
SUITED = {("lion", "lr"), ("signum", "lr"), ("sample", "temperature"), ("sample", "top_k")}
SUITED |= {("cost", "kernel"), ("cost", "feature_multiplier")}  # several of a kind, to compare


@pytest.mark.parametrize(("option", "path", "target"), NODES)
def test_values_are_the_constructors_defaults(option: Option, path: str, target: str) -> None:
    presets = {key for preset in presets_of(option) for key in preset.raw}
    for key, value in node_of(option, path).items():
        if (option.name, key) in SUITED or key in presets:
            continue
        default = source_of(target).signature.parameters[key].default
        if default is None or "${" in str(value):
            continue
        expected = literal(default)
        if expected is not MISSING:
            assert value == expected, key


def literal(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return MISSING
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    "option",
    [
        pytest.param(option, id=f"{option.group}/{option.name}")
        for option in OPTIONS
        if (option.target or "").startswith(f"suexp.{option.group}.")
    ],
)
def test_file_class_and_yaml_bear_one_name(option: Option) -> None:
    assert option.target is not None
    module, _, name = option.target.rpartition(".")
    option = [option, *option.ancestors()][len(presets_of(option))]
    assert module == f"suexp.{option.group}.{option.name}"
    assert name.lower() == option.name.replace("_", "")


@pytest.mark.parametrize("target", sorted({parameters.values[2] for parameters in NODES}))
def test_capabilities_are_literals(target: str) -> None:
    source = source_of(target)
    assert all(isinstance(entry, str) for entry in source.literal("provides", ()))
    for name in ("needs", "refuses"):
        for feature, reason in source.literal(name, {}).items():
            assert isinstance(feature, str)
            assert len(reason.split()) > 1, f"{name} {feature}: give a reason and what to use"


@pytest.mark.parametrize("option", [pytest.param(o, id=f"{o.group}/{o.name}") for o in OPTIONS])
def test_every_option_says_in_one_line_what_it_is(option: Option) -> None:
    assert len(option.description.split()) > 1
    assert len(option.description) <= 120
