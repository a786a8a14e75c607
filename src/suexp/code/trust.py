"""Which classes a config may name: a stranger's file must not choose what code runs.

Classes of suexp's groups may be named by everyone; others only by the user's own word,
``allow_targets``, which counts on the command line and never in a file.
"""

import ast
import functools
import pkgutil
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from suexp.code.source import read
from suexp.errors import UserError
from suexp.folders import conf_dir
from suexp.origins import changed

# What conf/ names beside the classes of its groups' packages.
OTHERS = {"pytorch_lightning.Trainer", "suexp.job.fsdp.FullySharded"}


def check_targets(node: Any, allow: Collection[str], path: str = "") -> None:
    """Refuse a resolved config that names a class of another package, however deep.

    Args:
        node: the config or a part of it, as plain containers.
        allow: names of packages, modules or classes that the user trusts.
        path: the node's key.

    Raises:
        UserError: the key, the class, and how to allow it.
    """
    for where, target in targets(node, path):
        if not isinstance(target, str) or not (
            target in OTHERS or within(target, allow) or _is_component(target)
        ):
            if not re.fullmatch(r"\w+(\.\w+)*", str(target)):
                raise UserError(f"{where}: {target} is not the dotted name of a class")
            module = str(target).rpartition(".")[0] or target
            raise UserError(
                f"{where}: {target} is no component of suexp's; if you trust its code, say so "
                f"yourself: allow_targets=[{module}]"
            )


def check_classes(node: Any, allow: Collection[str], path: str = "") -> None:
    """Refuse what `check_targets` does, and what an allowed package has only imported.

    ``my_package.os.system`` is none of my_package's. The packages that are allowed are imported.

    Raises:
        UserError: the key, the class, and why it cannot be used.
    """
    check_targets(node, allow, path)
    for where, target in targets(node, path):
        if within(target, allow) and target not in allow:
            try:
                home = getattr(pkgutil.resolve_name(target), "__module__", None)
            except (ImportError, AttributeError, ValueError) as error:
                raise UserError(f"{where}: {target} cannot be imported: {error}") from error
            if not within(str(home), allow):
                raise UserError(f"{where}: {target} is {home}'s, which allow_targets does not name")


def targets(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give the key and the value of every ``_target_``.

    Raises:
        UserError: an interpolation is left over; resolved later, it could become anything.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            where = f"{path}.{key}" if path else str(key)
            if key == "_target_":
                yield where, value
            yield from targets(value, where)
    elif isinstance(node, str):
        if "${" in node:
            raise UserError(f"{path}: {node} is not resolved; a run's config holds values only")
    elif isinstance(node, Sequence):
        for place, value in enumerate(node):
            yield from targets(value, f"{path}.{place}")


def within(target: str, packages: Collection[str]) -> bool:
    """Tell whether a dotted name lies in one of the packages, or is one of the names."""
    return any(target == name or target.startswith(f"{name}.") for name in packages)


def allowed(value: Any) -> list[str]:
    """Return ``allow_targets`` as a list; one name may stand alone.

    Raises:
        UserError: it holds no names.
    """
    if value is None:
        return []
    names = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    for name in names:
        if not (isinstance(name, str) and re.fullmatch(r"\w+(\.\w+)*", name)):
            raise UserError(f"allow_targets: {name} is no package; say allow_targets=[my_package]")
    return names


def trusting(config: Mapping[str, Any], allow: Sequence[str]) -> dict[str, Any]:
    """Return a config, read from a file, with what the user allows and not what the file does."""
    return changed({**config, "allow_targets": list(allow)}, lambda above: trusting(above, allow))


def _is_component(target: str) -> bool:
    """Tell whether it is a class that a package of a group defines, not one that it imports."""
    parts = target.split(".")
    if (
        len(parts) < 3
        or parts[0] != "suexp"
        or not all(map(str.isidentifier, parts))
        or not _has_components(parts[1])
    ):
        return False
    found = read(target)
    return (
        found is not None
        and isinstance(found.node, ast.ClassDef)
        and within(found.module.name, [f"suexp.{parts[1]}"])
    )


@functools.cache
def _has_components(group: str) -> bool:
    """Tell whether the options of a group name classes of the package that bears its name."""
    named = f"_target_: suexp.{group}."
    options = (conf_dir() / group).glob("*.yaml")
    return any(named in path.read_text(encoding="utf-8") for path in options)
