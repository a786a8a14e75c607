"""Hydra's config files, each read and parsed once a process."""

import dataclasses
import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hydra._internal.config_repository import ConfigRepository, IConfigRepository
from hydra.core.default_element import GroupDefault
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig, open_dict

from suexp.config.catalogue import Catalogue, Option

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
            if config_path.startswith("experiment/"):
                self._check(file)
            found = super().load_config(config_path)
            if found is not None and config_path.startswith("experiment/"):
                assert isinstance(found.config, DictConfig)
                with open_dict(found.config):
                    for left_out in self.without:
                        found.config.pop(left_out, None)
            _READ[key] = pickle.dumps(found)
        return pickle.loads(_READ[key])  # an eighth of a deep copy's time

    def _check(self, file: Path) -> None:
        """Refuse an experiment's file that is wrong, before Hydra reads it."""
        from suexp.experiment.schema import check

        folders = [Path(source.path) for source in self.sources if source.scheme() == "file"]
        base = next(folder for folder in folders if (folder / "config.yaml").is_file())
        own = next((folder for folder in folders if folder != base), None)
        check(Option("experiment", file.stem, file, Catalogue(own, base)))


def _of_hydra(default: Any) -> bool:
    group = default.group if isinstance(default, GroupDefault) else None
    return (group or "").lstrip("/").split("/")[0] == "hydra"
