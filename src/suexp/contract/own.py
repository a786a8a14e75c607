"""Classes of the user's own are held to their contract before their first run.

What was found stands on disk by a hash of their source, so that the second run does not pay. torch
is imported only where there is such a class, and nothing is known of it yet.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suexp.code.bases import components, foreign
from suexp.code.reach import digest_of, reach
from suexp.code.trust import targets
from suexp.contents import cache_dir
from suexp.errors import UserError
from suexp.origins import alone, origins

if TYPE_CHECKING:
    from suexp.contract.subject import Subject

# What of the rest of a run's config a contract asks for.
SIZES = {"model": ("dim", "key_dim", "num_heads"), "data": ("block_size",)}


def uphold(config: Mapping[str, Any], choices: Mapping[str, str] | None = None) -> None:
    """Hold a run's own classes to their contracts, and those of the runs that it needs.

    Args:
        config: resolved.
        choices: group -> option, by which they are called.

    Raises:
        UserError: the first check that is not passed, in one line.
    """
    for above in origins(config).values():
        uphold(above)
    core = alone(config)
    own = any(foreign(target) for _, target in targets(core))
    for key, group, node in components(core) if own else ():
        if foreign(node["_target_"]):
            _uphold(label(key, group, choices or {}), group, node, config)


def label(key: str, group: str, choices: Mapping[str, str]) -> str:
    """Return what the component under a key is called: ``attention=mine``, ``callback=mine``."""
    place, _, name = key.partition(".")
    chosen = name or choices.get(group)
    return f"{group}={chosen}" if chosen else place


def subject(label: str, group: str, node: dict[str, Any], config: Mapping[str, Any]) -> "Subject":
    """Return what is held to its group's contract; this imports torch."""
    from suexp.contract.subject import Subject

    return Subject(label, group, node, config, tuple(config["allow_targets"]))


def _uphold(label: str, group: str, node: dict[str, Any], config: Mapping[str, Any]) -> None:
    memory = _memory(group, node, config)
    if memory is not None and memory.exists():
        return
    from suexp.contract.check import outcomes

    held = subject(label, group, node, config)
    for check, why in outcomes(held, only_vital=True):
        if why is not None:
            raise UserError(
                f"{label}: {node['_target_']} is not what every {group} is, {check}: {why} "
                f"(suexp check --contract shows all that is asked)"
            )
    if memory is not None:
        with suppress(OSError):  # without a memory the next run asks again
            memory.parent.mkdir(parents=True, exist_ok=True)
            memory.touch()


def _memory(group: str, node: dict[str, Any], config: Mapping[str, Any]) -> Path | None:
    """Return the file that says that this was found right; None of a class without a source."""
    sizes = [(config.get(key) or {}).get(name) for key, names in SIZES.items() for name in names]
    code = reach([node["_target_"], f"suexp.contract.{group}"], config["allow_targets"])
    if not any(foreign(module) for module in code):
        return None
    facts = [digest_of(code), sizes, list(_lasting(node))]
    name = hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()
    return cache_dir() / "contract" / name


def _lasting(node: Any) -> Iterator[Any]:
    """Give what a node holds less its broken numbers, which are tuned and break no contract."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from ((key, found) for found in _lasting(value))
    elif not isinstance(node, float):
        yield node
