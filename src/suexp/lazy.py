"""Public names that are imported on first use."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def exports(package: str, init_file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the module-level ``__getattr__`` and ``__dir__`` of a group package.

    Names are found by file name, instead of by a list to maintain:
    ``from suexp.attention import Performer`` imports ``suexp/attention/performer.py``: the class
    that bears the file's name, letters compared without case and underscores.

    Args:
        package: the package's ``__name__``.
        init_file: the package's ``__file__``.
    """
    modules = {
        path.stem.replace("_", ""): path.stem
        for path in Path(init_file).parent.glob("*.py")
        if path.stem != "__init__"
    }

    def get(name: str) -> Any:
        # A module's own name is the import system's business (`suexp.logger.csv`), not a class.
        if name.lower() in modules and name not in modules.values():
            return getattr(importlib.import_module(f"{package}.{modules[name.lower()]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted(modules.values())

    return get, names


def deferred(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the module-level ``__getattr__`` and ``__dir__`` of a package that has ``_names``.

    Its ``HOMES`` says of each public name which module of the package defines it.

    Args:
        package: the package's ``__name__``.
    """

    def homes() -> Mapping[str, str]:
        found: Mapping[str, str] = importlib.import_module(f"{package}._names").HOMES
        return found

    def get(name: str) -> Any:
        if name == "__all__":
            return [name for name in homes() if not name.startswith("_")]
        if name in homes():
            return getattr(importlib.import_module(f"{package}.{homes()[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted(homes())
