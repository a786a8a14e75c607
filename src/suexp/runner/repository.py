"""Hydra's config files, each read and parsed once a process."""

import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hydra._internal.config_repository import ConfigRepository, IConfigRepository
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig, open_dict

_READ: dict[tuple[Any, ...], bytes] = {}  # by file, its time, and what is left out


class Remembered(ConfigRepository):
    """Hydra's own repository, but for files that were read before.

    An experiment is composed dozens of times, of the same files. They are copied, since composing
    changes them; a file that has changed on disk is read again.

    Args:
        own: Hydra's repository.
        without: keys that files in experiment/ lose, which only a whole experiment reads.
    """

    def __init__(self, own: IConfigRepository, without: Collection[str]) -> None:
        self.sources = own.get_sources()
        self.without = tuple(without)

    def load_config(self, config_path: str) -> Any:
        """Return the parsed file, or None where there is none."""
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
