"""Settings as overrides: what one would type, and what Hydra makes of it."""

from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from suexp.config.overrides import typed
from suexp.experiment.settings import Mistake, Named, overrides

NAMES = {
    "two": Named(("let", "two"), {"model.num_layers": 2}),
    "large": Named(("let", "large"), ["two", {"model": {"dim": 64}}]),
    "first": Named(("arms", "first"), {"transform": "truncate", "from": "large"}),
}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("{data: {patch: 2, num_train: 900}}", ["data.patch=2", "data.num_train=900"]),
        ("{optimizer: lion, optimizer.lr: 3e-4}", ["optimizer=lion", "optimizer.lr=3e-4"]),
        ("[optimizer: lion, {optimizer: {lr: 0.01}}]", ["optimizer=lion", "optimizer.lr=0.01"]),
        ("two", ["model.num_layers=2"]),
        ("[large, ~scheduler]", ["model.num_layers=2", "model.dim=64", "~scheduler"]),
        ("{~optimizer, ~scheduler}", ["~optimizer", "~scheduler"]),
        ("{}", []),
        ("{method: [wgan_gp, freeze]}", ["method=[wgan_gp,freeze]"]),
        ("{data.columns: {text: a b}}", ['data.columns.text="a b"']),
        ("{+callbacks.x: {_target_: a.B}}", ["+callbacks.x._target_=a.B"]),
        ("{trainer.max_steps: '${sizes.steps}'}", ["trainer.max_steps=${sizes.steps}"]),
        ("{a: null, b: true, c: '12', d: 'null'}", ["a=null", "b=true", 'c="12"', 'd="null"']),
        ("{from: [two, method: theseus]}", ['parent=["model.num_layers=2","method=theseus"]']),
        (
            "[first, from: first]",
            [
                "transform=truncate",
                'parent=["model.num_layers=2","model.dim=64"]',
                'parent=["transform=truncate","parent=[\\"model.num_layers=2\\",'
                '\\"model.dim=64\\"]"]',
            ],
        ),
    ],
)
def test_settings_become_overrides(settings: str, expected: list[str]) -> None:
    from suexp.config.yaml_file import _Loader

    read: Any = yaml.load(settings, Loader=_Loader)
    assert overrides(read, NAMES) == expected


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=8).filter(
        lambda text: "$" not in text
    ),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(VALUES)
def test_hydra_reads_a_value_as_it_was_meant(value: Any) -> None:
    read = OverridesParser.create().parse_override(f"key={typed(value)}").value()
    assert plain(read) == value


def plain(value: Any) -> Any:
    """A value of Hydra's parser without its quotes."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.text if hasattr(value, "text") else value


def test_a_mistake_knows_where_it_stands() -> None:
    names = {"a": Named(("let", "a"), [{"from": "b"}]), "b": Named(("let", "b"), ["a"])}
    with pytest.raises(Mistake, match="a circle of names: a -> b -> a") as raised:
        overrides(["a"], names, ("arms", "x"))
    assert raised.value.keys == ("let", "b", 0)
