"""What suexp leans on inside of Hydra: when Hydra moves, the line that fails says what moved."""

import ast
import inspect
from pathlib import Path

import hydra
import hydra._internal.hydra
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.default_element import GroupDefault, InputDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

import suexp
from suexp.config import hydra_internals

SOURCE = Path(suexp.__file__).parent
# Hydra's own words for what others may use: its errors, types, plugins and `hydra.main`.
PUBLIC = (
    *("hydra.errors", "hydra.utils", "hydra.plugins", "hydra.types", "hydra.conf", "hydra.main"),
    *("hydra.core.config_store", "hydra.core.hydra_config", "hydra.core.override_parser.types"),
)


def test_nothing_else_looks_inside_of_hydra() -> None:
    inside = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                if name.startswith("hydra.") and not name.startswith(PUBLIC):
                    inside.setdefault(path.relative_to(SOURCE).as_posix(), set()).add(name)
    assert {*inside} == {"config/hydra_internals.py"}


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (ConfigLoaderImpl._apply_overrides_to_config, ["overrides", "cfg"]),
        (ConfigLoaderImpl.load_configuration, ["self", "config_name", "overrides", "run_mode"]),
        (ConfigRepository.load_config, ["self", "config_path"]),
        (ConfigRepository.initialize_sources, ["self", "config_search_path"]),
        (ConfigRepository._find_object_source, ["self", "config_path", "object_type"]),
        (BasicSweeper.split_arguments, ["overrides", "max_batch_size"]),
        (OverridesParser.create, ["config_loader"]),
        (OverridesParser.parse_overrides, ["self", "overrides"]),
        (GlobalHydra.config_loader, ["self"]),
    ],
)
def test_what_is_called_takes_what_it_took(function: object, parameters: list[str]) -> None:
    found = [*inspect.signature(function).parameters]  # type: ignore[arg-type]
    assert found[: len(parameters)] == parameters


def test_what_is_read_or_replaced_is_where_it_was() -> None:
    assert hydra.__version__.startswith("1.3.")  # 1.4 renames plugins and moves the repository
    assert hydra._internal.hydra.ConfigLoaderImpl is ConfigLoaderImpl
    assert issubclass(GroupDefault, InputDefault)
    with hydra_internals.loader() as loader:
        assert isinstance(loader, ConfigLoaderImpl)
        sources = loader.repository.get_sources()
        assert loader.repository.sources is sources
        found = loader.repository.load_config("config")
    assert found.defaults_list
    assert isinstance(found.defaults_list[0], GroupDefault)
    assert OmegaConf.is_dict(found.config)


def test_a_file_is_parsed_once_and_copied() -> None:
    with hydra_internals.loader() as loader:
        ours = hydra_internals.Remembered(loader.repository, ())
        first, second = ours.load_config("config"), ours.load_config("config")
    assert first is not second
    assert first.config == second.config
    first.config.seed = 7
    assert second.config.seed != 7


def test_a_bare_config_lacks_hydras_own_groups() -> None:
    whole = hydra_internals.load(["seed=1"], None, (), bare=False)
    bare = hydra_internals.load(["seed=1"], None, (), bare=True)
    assert "hydra_logging" in whole.hydra.runtime.choices or whole.hydra.hydra_logging
    assert not any(name.startswith("hydra/") for name in bare.hydra.runtime.choices)
    assert {k: v for k, v in whole.items() if k != "hydra"} == {
        k: v for k, v in bare.items() if k != "hydra"
    }


def test_values_are_set_and_combined() -> None:
    config = OmegaConf.create({"a": 1, "b": {"c": 2}})
    hydra_internals.apply(["a=3", "b.c=x"], config)
    assert config == {"a": 3, "b": {"c": "x"}}
    parsed = hydra_internals.parse(["a=1,2", "b=3"])
    assert [[*each] for each in hydra_internals.combinations(parsed)] == [
        ["a=1", "b=3"],
        ["a=2", "b=3"],
    ]
