"""All that depends on how Hydra works inside, and may break when it moves.

Tests in tests/config/test_hydra_internals.py name each part that is leant on.
"""

import dataclasses
import functools
import itertools
import pickle
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra._internal.hydra
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository, IConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path
from hydra.core.default_element import GroupDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from suexp.errors import UserError
from suexp.folders import conf_dir

MOST_RUNS = 10_000  # of one command
_READ: dict[tuple[Any, ...], bytes] = {}  # by file, its time, and what is left out


class Remembered(ConfigRepository):
    """Hydra's own repository, but for files that were read before.

    An experiment is composed dozens of times, of the same files. They are copied, since composing
    changes them; a file that has changed on disk is read again.

    Args:
        own: Hydra's repository.
        without: keys that files in experiment/ lose, which only a whole experiment reads.
        bare: leave out Hydra's own groups, such as its logging: a third of the time, and a run has
            no use for them.
    """

    def __init__(
        self, own: IConfigRepository, without: Collection[str], bare: bool = False
    ) -> None:
        self.sources = own.get_sources()
        self.without = tuple(without)
        self.bare = bare

    def load_config(self, config_path: str) -> Any:
        """Return the parsed file, or None where there is none."""
        found = self._read(config_path)
        if self.bare and found is not None and found.defaults_list:
            theirs = config_path == "hydra/config"
            kept = [d for d in found.defaults_list if not theirs and not _of_hydra(d)]
            found = dataclasses.replace(found, defaults_list=kept)
        return found

    def _read(self, config_path: str) -> Any:
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        name = config_path if config_path.endswith(".yaml") else f"{config_path}.yaml"
        file = (
            Path(source.path) / name if source is not None and source.scheme() == "file" else None
        )
        if file is None or not file.is_file():
            return super().load_config(config_path)
        key = (str(file), file.stat().st_mtime_ns, self.without)
        if key not in _READ:
            found = super().load_config(config_path)
            if found is not None and config_path.startswith("experiment/"):
                assert isinstance(found.config, DictConfig)
                with open_dict(found.config):
                    for left_out in self.without:
                        found.config.pop(left_out, None)
            _READ[key] = pickle.dumps(found)
        return pickle.loads(_READ[key])  # an eighth of a deep copy's time


def _of_hydra(default: Any) -> bool:
    group = default.group if isinstance(default, GroupDefault) else None
    return (group or "").lstrip("/").split("/")[0] == "hydra"


class _Alone(Remembered):
    """Hydra's repository, of which config.yaml names no option but Hydra's own."""

    def load_config(self, config_path: str) -> Any:
        """Return the parsed file, or None where there is none."""
        found = self._read(config_path)
        if config_path == "config":
            kept = [d for d in found.defaults_list if _of_hydra(d) or d.is_self()]
            found = dataclasses.replace(found, defaults_list=kept)
        return found


@functools.lru_cache(maxsize=16)
def typed_node(overrides: tuple[str, ...], base: Path) -> DictConfig:
    """Return Hydra's own node as config.yaml and what is typed make it, with no other file.

    Args:
        overrides: what is typed.
        base: suexp's conf/.

    Raises:
        HydraException: an option of Hydra's that stands in a file.
    """
    found = ConfigLoaderImpl(create_config_search_path(str(base)))
    found.repository = _Alone(found.repository, ())
    items = parse(overrides)
    typed = [str(item.input_line) for item in items if item.is_hydra_override()]
    node: DictConfig = found.load_configuration("config", typed, RunMode.RUN).hydra
    node.overrides.task = [item.input_line for item in items if not item.is_hydra_override()]
    return node


@contextmanager
def loader(config_dir: str | None = None) -> Iterator[Any]:
    """Give Hydra's config loader: the running application's, or one of our own.

    Args:
        config_dir: a folder with options of the user's own, laid out like conf/.
    """
    if GlobalHydra.instance().is_initialized():
        yield GlobalHydra.instance().config_loader()
        return
    with initialize_config_dir(str(conf_dir()), job_name="suexp", version_base="1.3"):
        found = GlobalHydra.instance().config_loader()
        if config_dir:
            path = f"file://{Path(config_dir).absolute()}"
            # Hydra wants its schemas to stay last, and has read the search path already.
            search_path = found.get_search_path()
            search_path.prepend(provider="command-line", path=path, anchor="schema")
            found.repository.initialize_sources(search_path)  # type: ignore[attr-defined]
        yield found


def folders() -> list[Path]:
    """Return the folders that options are read from, the user's own before suexp's."""
    with loader() as found:
        sources = found.repository.get_sources()
        return [Path(source.path) for source in sources if source.scheme() == "file"]


def load(
    overrides: Sequence[str],
    config_dir: str | None,
    without: Collection[str],
    bare: bool,
    run_mode: RunMode = RunMode.RUN,
) -> DictConfig:
    """Return the composed config, Hydra's own node in it; see `Remembered`."""
    with loader(config_dir) as found:
        own = found.repository
        _refuse_other_choices(overrides, own)
        found.repository = Remembered(own, without, bare)
        try:
            # The experiment sweeper composes one run at a time, so the mode is mostly RUN here.
            config: DictConfig = found.load_configuration(
                config_name="config", overrides=list(overrides), run_mode=run_mode
            )
        finally:
            found.repository = own
    return config


def _refuse_other_choices(overrides: Sequence[str], repository: IConfigRepository) -> None:
    """Refuse a choice that is neither a name nor a list of names; Hydra stumbles over it."""
    for item in parse([item for item in overrides if set("[{?") & set(item)]):
        value = item.value()
        names = value if isinstance(value, list) else [value]
        if repository.group_exists(item.key_or_group) and not all(
            isinstance(name, str) and "${" not in name and name != "???" for name in names
        ):
            raise UserError(f"{item.input_line}: a choice is an option's name, or a list of names")


def parse(overrides: Sequence[str], found: Any = None) -> list[Override]:
    """Return overrides as Hydra reads them; with its loader it can tell groups from keys."""
    return OverridesParser.create(found).parse_overrides(list(overrides))


def apply(overrides: Sequence[str], config: DictConfig) -> None:
    """Set values in a config that is composed already."""
    ConfigLoaderImpl._apply_overrides_to_config(parse(overrides), config)


def combinations(overrides: list[Override]) -> Sequence[Sequence[str]]:
    """Return each combination of overrides that list several values, as Hydra's own sweeper."""
    return BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]


def refuse_endless(overrides: Sequence[Override]) -> None:
    """Refuse a sweep of more runs than anybody waits for.

    Raises:
        UserError: the override that makes them so many.
    """
    count = 1
    for item in overrides:
        if item.is_sweep_override() and item.is_discrete_sweep():
            values = itertools.islice(item.sweep_string_iterator(), MOST_RUNS // count + 1)
            count *= max(sum(1 for _ in values), 1)
        if count > MOST_RUNS:
            raise UserError(f"{item.input_line}: makes it a sweep of more than {MOST_RUNS} runs")


def launcher_of(config: DictConfig) -> Any:
    """Return the launcher that a whole config chooses, set up.

    Args:
        config: Hydra's own node in it, and looked at: the launcher is built of it.
    """
    with loader() as found:
        context = HydraContext(config_loader=found, callbacks=Callbacks())
        return Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=lambda _: None, config=config
        )


@contextmanager
def composing(overrides: Sequence[str]) -> Iterator[None]:
    """Let whatever Hydra stumbles over, and has no words for, be a mistake in what it was given."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, UserError, ValueError, RecursionError):
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(f"{' '.join(overrides)}: cannot be composed ({what})") from error


@contextmanager
def watched(look: Callable[[DictConfig, list[str]], None]) -> Iterator[None]:
    """Look at every config that Hydra's application loads, before it builds anything of it.

    Args:
        look: is given the config and the overrides; raises what is wrong with them.
    """

    class Watched(ConfigLoaderImpl):
        def load_configuration(
            self, config_name: str | None, overrides: list[str], *args: Any, **kwargs: Any
        ) -> DictConfig:
            _refuse_other_choices(overrides, self.repository)
            with composing(overrides):
                config = super().load_configuration(config_name, overrides, *args, **kwargs)
            if not isinstance(self.repository, Remembered):  # a run's config: nothing is built
                look(config, overrides)
            return config

    hydra._internal.hydra.ConfigLoaderImpl = Watched  # type: ignore[attr-defined]
    try:
        yield
    finally:
        hydra._internal.hydra.ConfigLoaderImpl = ConfigLoaderImpl  # type: ignore[attr-defined]
