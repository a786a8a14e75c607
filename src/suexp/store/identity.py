"""What a run's result depends on; a hash over it is the run's id, and names its folder."""

import functools
import hashlib
import importlib.metadata
import json
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from suexp.code.instantiate import instantiate
from suexp.code.local_files import local_files
from suexp.code.reach import digest_of, reach
from suexp.code.trust import targets, within
from suexp.contents import content_hash
from suexp.origins import alone, origins

# What changes where or how loudly a run runs, but not what it computes.
VOLATILE = (
    *("out", "rerun", "on_error", "threads", "logger", "scale", "run", "study", "experiment"),
    "allow_targets",
)
VOLATILE_TRAINER = ("enable_progress_bar", "checkpoint_seconds")
# What makes a run of whatever config, in `suexp.code.reach`'s terms.
RUNS = "suexp.job.run"


@dataclass(frozen=True)
class Identity:
    """What a run's result depends on beside its config.

    Threads and the versions of other packages are recorded in the summary (see
    `suexp.store.provenance`), but are no part of it: they change last bits, not what is computed.

    Attributes:
        code: module -> hash, of all code that the run can touch.
        data: the data set's fingerprint.
        files: path -> hash, of the other local files that it reads.
        torch: version of torch, major and minor.
        origins: the same of the runs that it needs, by name (see `suexp.origins`).
    """

    code: Mapping[str, str]
    data: str
    files: Mapping[str, str]
    torch: str
    origins: Mapping[str, "Identity"] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Identity":
        """Return what a resolved config depends on now.

        Raises:
            UserError: the data set refuses its arguments, or lacks a file.
        """
        allow = config["allow_targets"]
        core = alone(lasting(config))
        names = {str(target) for _, target in targets(core)}
        foreign = [name for name in allow if any(within(target, [name]) for target in names)]
        return cls(
            code=reach([RUNS, *names], foreign),
            data=_data(pickle.dumps(core["data"]), tuple(allow)).fingerprint(),
            files=dict(_files(core)),
            torch=_torch(),
            origins={name: cls.of(above) for name, above in origins(config).items()},
        )

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Identity":
        """Return what `as_json` has written down."""
        above = {name: cls.from_json(found) for name, found in facts["origins"].items()}
        return cls(**{**facts, "origins": above})

    def as_json(self) -> dict[str, Any]:
        """Return it as plain containers."""
        return asdict(self)

    def name(self, config: Mapping[str, Any]) -> str:
        """Return ten hexadecimal digits: the id of the run of a config that depends on this."""
        above = origins(config)
        names = {name: known.name(above[name]) for name, known in self.origins.items()}
        facts = [
            alone(lasting(config)),
            names,
            digest_of(self.code),
            self.data,
            dict(self.files),
            self.torch,
        ]
        text = json.dumps(facts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def changes(self, now: "Identity") -> list[str]:
        """Return in words what is not as it was."""
        lines = []
        for what, before, after in (("code", self.code, now.code), ("file", self.files, now.files)):
            other = [n for n in {**before, **after} if before.get(n) != after.get(n)]
            lines += [f"{what} of {name} is not what it was" for name in sorted(other)]
        if self.data != now.data:
            lines.append(f"the data were {self.data[:12]}, are {now.data[:12]}")
        if self.torch != now.torch:
            lines.append(f"torch was {self.torch}, is {now.torch}")
        for name in self.origins.keys() & now.origins.keys():
            changes = self.origins[name].changes(now.origins[name])
            lines += [f"{name}: {line}" for line in changes]
        return lines


def lasting(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config less the keys that change no run's result."""
    core = {key: value for key, value in config.items() if key not in VOLATILE}
    trainer = core["trainer"].items()
    core["trainer"] = {key: value for key, value in trainer if key not in VOLATILE_TRAINER}
    return core


def volatile(key: str) -> bool:
    """Whether a key changes no run's result; Hydra's own keys do not."""
    quiet = {*VOLATILE, "hydra", *(f"trainer.{name}" for name in VOLATILE_TRAINER)}
    return bool(quiet & {key, key.split(".")[0], key.split("/")[0]})


@functools.lru_cache(maxsize=64)
def _data(node: bytes, allow: tuple[str, ...]) -> Any:
    """Return the data set of a pickled node, whose building costs ten times a fingerprint."""
    return instantiate(pickle.loads(node), allow)


@functools.cache
def _torch() -> str:
    """Return the version without importing torch."""
    return ".".join(importlib.metadata.version("torch").split(".")[:2])


def _files(core: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the local files that components say they read; data sets have fingerprints."""
    for path in local_files({**core, "data": None}):
        yield str(path), content_hash(path)
