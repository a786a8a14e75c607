"""What is changed in other packages, and why."""

import ast
import importlib
import sys
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard


def spare_torchmetrics() -> None:
    """Have torchmetrics import what is used, when it is used.

    Lightning imports the package for two classes. Its ``__init__`` imports every metric there is,
    and with them scipy.signal and, where it is installed, transformers: a third of the time that
    it takes to begin a training. Nothing is done where it is imported already.
    """
    for name in ("", ".functional", ".functional.text", ".text"):
        if f"torchmetrics{name}" not in sys.modules:
            _import_on_use(f"torchmetrics{name}")


class _OnUse(ModuleType):
    """A package that imports the names which it takes from its modules when they are asked for."""

    _taken: dict[str, tuple[str, str]]  # name -> the module it is taken from, its name there

    def __getattr__(self, name: str) -> Any:
        if name in self._taken:
            importlib.import_module("torchmetrics.utilities")  # which must come before any metric
            module, own_name = self._taken[name]
            value = getattr(importlib.import_module(module), own_name)
            setattr(self, name, value)
            return value
        if not name.startswith("_") and find_spec(f"{self.__name__}.{name}"):
            return importlib.import_module(f"{self.__name__}.{name}")
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        """Leave a name to the function that bears it where its module is imported, too."""
        if not (isinstance(value, ModuleType) and name in self._taken):
            super().__setattr__(name, value)


def _import_on_use(name: str) -> None:
    """Put a package into ``sys.modules`` whose ``__init__`` runs without its imports of metrics.

    What it does under a condition, to old versions of other packages, is left out, too.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    own = [node for node in ast.walk(tree) if _imports_metrics(node)]
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) or node in own)]
    module = sys.modules[name] = module_from_spec(spec)
    module.__class__ = _OnUse
    module._taken = {  # type: ignore[attr-defined]
        alias.asname or alias.name: (node.module, alias.name)
        for node in own
        if node.module not in (None, name)
        for alias in node.names
    }
    exec(compile(tree, spec.origin, "exec"), vars(module))
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def _imports_metrics(node: ast.AST) -> TypeGuard[ast.ImportFrom]:
    return (
        isinstance(node, ast.ImportFrom)
        and (node.module or "").partition(".")[0] == "torchmetrics"
        and node.names[0].name != "*"
    )
