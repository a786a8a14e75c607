"""A run is a function of its config: the signature names its folder."""

import functools
import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

from suexp.code.instantiate import instantiate

# What changes where or how loudly a run runs, but not what it computes.
VOLATILE = (
    *("out", "rerun", "on_error", "threads", "logger", "scale", "run", "study", "experiment"),
    "allow_targets",
)
VOLATILE_TRAINER = ("enable_progress_bar", "checkpoint_seconds")
# Modules that only look at what runs have written, or write it elsewhere.
VIEWS = (
    "api.py",
    "cli/",
    "code/source.py",
    "code/trust.py",
    "config/c",
    "config/explain.py",
    "config/fits.py",
    "config/hydra_node.py",
    "config/near.py",
    "config/unknown.py",
    "errors.py",
    "experiment/",
    "folders.py",
    "judge/",
    "launch/progress.py",
    "logger/_rows.py",
    "logger/csv.py",
    "logger/tensorboard.py",
    "logger/wandb.py",
    "redaction.py",
    "report/",
    "store/query.py",
    "study/",
)


def signature(config: dict[str, Any]) -> str:
    """Return ten hexadecimal digits of a hash over what determines a run's result.

    That is the resolved config less the volatile keys, the parent's signature, the fingerprint of
    the data and the source of suexp.
    """
    core = {key: value for key, value in config.items() if key not in VOLATILE}
    core["trainer"] = {
        key: value for key, value in core["trainer"].items() if key not in VOLATILE_TRAINER
    }
    if core.get("parent"):
        core["parent"] = signature(core["parent"])
    allow = tuple(config.get("allow_targets", ()))
    core["fingerprint"] = _data(pickle.dumps(core["data"]), allow).fingerprint()
    core["source"] = source_hash()
    text = json.dumps(core, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


@functools.lru_cache(maxsize=64)
def _data(node: bytes, allow: tuple[str, ...]) -> Any:
    """Return the data set of a pickled node, whose building costs ten times a fingerprint."""
    return instantiate(pickle.loads(node), allow)


def volatile(key: str) -> bool:
    """Whether a key changes no run's result; Hydra's own keys do not."""
    quiet = {*VOLATILE, "hydra", *(f"trainer.{name}" for name in VOLATILE_TRAINER)}
    return bool(quiet & {key, key.split(".")[0], key.split("/")[0]})


@functools.cache
def source_hash() -> str:
    """Return a hash of suexp's source, less what is in `VIEWS`.

    The processes of a sweep take it from the one that began it (``SUEXP_SOURCE``): an edit in the
    meantime must not part them.
    """
    if "SUEXP_SOURCE" in os.environ:
        return os.environ["SUEXP_SOURCE"]
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(VIEWS):
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
