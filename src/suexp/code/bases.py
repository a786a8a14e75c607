"""From what the options of a group derive, as the group's contract says, without being imported."""

import ast
import functools
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from suexp.code.source import _PLAIN_BASES, find, package_path, read
from suexp.code.trust import OTHERS, targets
from suexp.errors import UserError

# The key under which a config holds a group, where that is not its name.
_KEYS = {"callback": "callbacks"}


@functools.cache
def bases() -> dict[str, str]:
    """Return group -> dotted name of the class that its options derive from."""
    found = {}
    for path in sorted((Path(__file__).parents[1] / "contract").glob("*.py")):
        module = find(f"suexp.contract.{path.stem}")
        base = module[0].definitions.get("BASE") if module else None
        if isinstance(base, ast.Constant):
            found[path.stem] = str(base.value)
    return found


def components(config: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give key, group and node of the choices of all groups that have a contract."""
    for group in bases():
        key = _KEYS.get(group, group)
        node = config.get(key)
        if not isinstance(node, dict):
            continue
        several = {f"{key}.{name}": part for name, part in node.items()}
        for place, part in ({key: node} if "_target_" in node else several).items():
            if isinstance(part, dict) and isinstance(part.get("_target_"), str):
                yield place, group, part


def foreign(target: str) -> bool:
    """Tell whether a class is the user's own: neither suexp's nor one that conf/ names."""
    return target.partition(".")[0] != "suexp" and target not in OTHERS


def check_own(config: Mapping[str, Any]) -> None:
    """Refuse classes of one's own that cannot work, as far as their source tells.

    Raises:
        UserError: their package cannot be found, or they derive from another class.
    """
    own = [(where, target) for where, target in targets(config) if foreign(target)]
    for where, target in own:
        _check_package(where, target)
    for key, group, node in components(config) if own else ():
        if foreign(node["_target_"]):
            _check_base(key, group, node["_target_"])


def _check_package(where: str, target: str) -> None:
    name = target.partition(".")[0]
    if package_path(name) is not None or name in sys.modules:  # a notebook's own, __main__
        return
    if importlib.util.find_spec(name) is not None:
        return
    here = Path(name).is_dir() or Path(f"{name}.py").is_file()
    way = "which lies here; write PYTHONPATH=. before the command"
    other = f"install it, or write PYTHONPATH=FOLDER, where {name} lies, before the command"
    line = f"{where}: {target} cannot be imported: Python does not find {name}"
    raise UserError(f"{line}, {way}" if here else f"{line}; {other}")


def _check_base(key: str, group: str, target: str) -> None:
    source, base = read(target), bases()[group]
    if source is None:
        return  # whoever imports it says so
    unread = source.ancestors - {item.name for item in source.lineage}
    if unread <= _PLAIN_BASES and base.rpartition(".")[2] not in source.ancestors:
        raise UserError(
            f"{key}._target_: {target} is no {group}: let its class derive from {base}; "
            f"suexp new {group} NAME writes one to begin with"
        )
