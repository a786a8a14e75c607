"""The local files that components read, as their classes say without being imported."""

import os.path
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from suexp.code.source import read
from suexp.errors import UserError


def local_files(node: Any, key: str = "") -> Iterator[Path]:
    """Give the files that the components of a config read (`suexp.component.Component.paths`).

    A name of the hub's, under which nothing lies here, is passed over.

    Args:
        node: the config or a part of it, as plain containers.
        key: the node's key.

    Raises:
        UserError: a path that leads nowhere.
    """
    if isinstance(node, Mapping):
        source = read(node["_target_"]) if isinstance(node.get("_target_"), str) else None
        declared = source.literal("paths", {}) if source is not None else {}
        for argument, names in declared.items():
            if isinstance(node.get(argument), str):
                yield from _found(f"{key}.{argument}", node[argument], names)
        for name, value in node.items():
            yield from local_files(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from local_files(value, f"{key}.{place}")


def local_path(key: str, name: str) -> Path:
    """Return the path that a key names; a ~ that is no user's home is a letter like any other.

    Raises:
        UserError: such a path cannot be looked up: too long a name, say, or a folder of another's.
    """
    path = Path(os.path.expanduser(name))  # noqa: PTH111  (Path's own fails at ~x.csv)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        short = name if len(name) < 80 else f"{name[:80]}..."
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{key}: {short!r} cannot be looked up: {reason}") from error
    return path


def looks_local(name: str) -> bool:
    """Tell a path from a name of the hub's, ``owner/name`` or ``name``."""
    return name.startswith(("/", ".", "~")) or name.count("/") > 1


def _found(key: str, name: str, inside: Collection[str]) -> Iterator[Path]:
    path = local_path(key, name)
    if path.is_dir():
        for pattern in inside:
            yield from sorted(file for file in path.glob(pattern) if file.is_file())
    elif path.is_file():
        yield path
    elif looks_local(name):
        raise UserError(f"{key}: no file or folder {name}")
