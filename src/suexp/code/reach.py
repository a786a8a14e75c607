"""What code a name can touch: its module, and all that this imports, however deep.

One answer for everybody who asks what a result depends on: the run's signature, the fingerprints of
data, the modules that a fork server imports beforehand, the tests that a change touches. Imports
are read from the source and nothing is imported; docstrings and comments are no code.

Followed are suexp's modules, those of packages that the user allows (see `suexp.code.trust`), and
whatever else lies outside Python's own library and its installed packages: a module of the user's
beside his package, say. Names that a program makes up while it runs cannot be followed.
"""

import ast
import functools
import hashlib
import json
import sysconfig
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from suexp.code.source import locate, package_path
from suexp.contents import remembered

# Changes when what `_read` remembers does.
_READING = "code 2"


def reach(names: Iterable[str], allow: Collection[str] = ()) -> dict[str, str]:
    """Return module -> hash of its code, of all that can run where these names are used.

    Args:
        names: dotted names of modules, classes or functions.
        allow: names of packages whose modules are followed although they are installed ones.
    """
    return dict(_reach(tuple(sorted({*names})), tuple(sorted(allow))))


def digest(names: Iterable[str], allow: Collection[str] = ()) -> str:
    """Return one hash over all that `reach` finds."""
    return digest_of(reach(names, allow))


def digest_of(found: Mapping[str, str]) -> str:
    """Return one hash over what `reach` has found."""
    text = json.dumps(sorted(found.items()))
    return hashlib.sha256(text.encode()).hexdigest()


@functools.lru_cache(maxsize=4096)
def _reach(names: tuple[str, ...], allow: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    packages = {name.partition(".")[0] for name in allow}
    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if not _followed(name.partition(".")[0], tuple(packages)):
            continue
        for module, path in modules(name):
            if module not in found:
                found[module], used = _read(path, module)
                waiting += used
    return tuple(sorted(found.items()))


@functools.cache
def _followed(package: str, allowed: tuple[str, ...]) -> bool:
    if package in ("suexp", *allowed):
        return True
    path = package_path(package)
    if path is None or {"site-packages", "dist-packages"} & {*path.parts}:
        return False
    return not path.is_relative_to(sysconfig.get_path("stdlib"))


@functools.cache
def modules(name: str) -> tuple[tuple[str, Path], ...]:
    """Return the modules that importing a dotted name runs, its packages' own first."""
    parts = name.split(".")
    path, used = locate(parts)
    if path is None:
        return ()
    above = (locate(parts[:depth]) for depth in range(1, used))
    found = {".".join(parts[:depth]): file for file, depth in above if file is not None}
    found[".".join(parts[:used])] = path
    if path.name == "__init__.py" and used < len(parts):
        # A package whose names are found by the names of its files (suexp.lazy).
        for file in path.parent.glob("*.py"):
            stem = file.stem.replace("_", "")
            if stem == parts[used].lower() and file.stem != parts[used] and stem != "init":
                found[".".join([*parts[:used], file.stem])] = file
    return tuple(found.items())


@functools.cache
def _read(path: Path, module: str) -> tuple[str, tuple[str, ...]]:
    """Return the hash of a module's code, and what it imports."""
    made = functools.partial(_parsed, module=module)
    code, *used = remembered(path, f"{_READING} {module}", made).split("\n")
    return code, tuple(used)


def _parsed(path: Path, module: str) -> str:
    content = path.read_bytes()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # whoever imports it says so; its bytes stand for its code
        return _hash(content)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    used = sorted({*imports(tree, package)})
    code = ast.unparse(_bare(tree))
    return "\n".join([_hash(code.encode()), *used])


def _hash(code: bytes) -> str:
    return hashlib.sha256(code).hexdigest()[:16]  # a record holds hundreds


def imports(node: ast.AST, package: str) -> Iterator[str]:
    """Give the dotted names of all imports, those inside of functions among them.

    Args:
        node: the syntax tree of a module.
        package: the package that it lies in, for relative imports.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from imports(ast.Module([other], []), package)
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - child.level + 1] if child.level else []
            base = ".".join([*above, *([child.module] if child.module else [])])
            yield from (f"{base}.{alias.name}" for alias in child.names)
        yield from imports(child, package)


def _bare(tree: ast.Module) -> ast.Module:
    """Remove docstrings, and whatever else does nothing."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [item for item in body if not _idle(item)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return tree


def _idle(node: ast.stmt) -> bool:
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return text or isinstance(node, ast.Pass)
