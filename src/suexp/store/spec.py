"""A run, decided: its resolved config and what else its result depends on."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from suexp.code.trust import trusting
from suexp.origins import alone, changed, origins
from suexp.store.identity import Identity, lasting

Config = dict[str, Any]


@dataclass(frozen=True)
class RunSpec:
    """One run: made once where a config is resolved, and handed on to whoever makes the run.

    Its id stands from then on: an edit of the code in the meantime does not part the processes of a
    sweep.

    Attributes:
        config: resolved, as plain containers, with those of the runs that it needs
            (see `suexp.origins`).
        identity: what the result depends on beside the config.
        choices: the option chosen in each group, where it is known.
    """

    config: Config = field(repr=False)
    identity: Identity = field(repr=False)
    choices: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config, choices: Mapping[str, str] | None = None) -> "RunSpec":
        """Return the run of a resolved config.

        Raises:
            UserError: the data set refuses its arguments, or lacks a file.
        """
        return cls(config, Identity.of(config), choices or {})

    @functools.cached_property
    def id(self) -> str:
        """Ten hexadecimal digits, the same for every run with this result."""
        return self.identity.name(self.config)

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        return Path(self.config["out"]).absolute() / "runs" / self.id

    @functools.cached_property
    def origins(self) -> "dict[str, RunSpec]":
        """The runs that this one needs, by name; the one it starts from is ``parent``."""
        return {
            name: RunSpec(config, self.identity.origins[name])
            for name, config in origins(self.config).items()
        }

    def ancestors(self) -> "dict[str, RunSpec]":
        """Return all runs that must have been made before this one, by id."""
        found: dict[str, RunSpec] = {}
        for origin in self.origins.values():
            found |= origin.ancestors() | {origin.id: origin}
        return found

    @property
    def allow(self) -> Sequence[str]:
        """The packages that the user allows (see `suexp.code.trust`)."""
        allowed: list[str] = self.config["allow_targets"]
        return allowed

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.config["seed"])

    @property
    def rerun(self) -> bool:
        """Whether it is to be run although it may have finished."""
        return bool(self.config["rerun"])

    @property
    def stops(self) -> bool:
        """Whether the other runs of a sweep are not begun once this one has failed."""
        return bool(self.config["on_error"] == "stop")

    @property
    def devices(self) -> bool:
        """Whether it wants several processes."""
        trainer = self.config["trainer"]
        return (
            trainer.get("devices", "auto") not in (1, "1", "auto")
            or trainer.get("num_nodes", 1) > 1
        )

    @property
    def label(self) -> str:
        """Its arm and seed, where it has an arm, else its id."""
        arm = (self.config.get("run") or {}).get("arm")
        return f"{arm} seed {self.seed}" if arm else self.id

    def changed(self, change: Callable[[Config], Config], above: bool = False) -> "RunSpec":
        """Return the same run with other settings of how it runs, its origins too if asked.

        Args:
            change: returns a changed copy of a config; only keys that change no result.
            above: whether the configs of the runs that it needs are changed likewise.
        """
        config = _everywhere(self.config, change) if above else change(self.config)
        assert alone(lasting(config)) == alone(lasting(self.config))
        return replace(self, config=config)

    def save(self, path: Path) -> None:
        """Write it down for another process."""
        facts = {"config": self.config, "identity": self.identity.as_json()}
        path.write_text(json.dumps({**facts, "choices": dict(self.choices)}), encoding="utf-8")

    @classmethod
    def load(cls, path: Path, allow: Sequence[str]) -> "RunSpec":
        """Return what was saved; what the file allows does not count.

        Args:
            path: the file.
            allow: what the user allows.
        """
        facts = json.loads(path.read_text(encoding="utf-8"))
        config = trusting(facts["config"], allow)
        return cls(config, Identity.from_json(facts["identity"]), facts["choices"])


def _everywhere(config: Config, change: Callable[[Config], Config]) -> Config:
    return changed(change(config), lambda above: _everywhere(above, change))


def as_yaml(config: Config) -> str:
    """Return a config as its run's folder keeps it."""
    return yaml.safe_dump(config, sort_keys=False)
