"""The texts that come with every CPython: documentation topics, docstrings, source code.

Nothing is imported: source files are parsed. Left out are tests, what is generated or installed by
the machine's owner, and the packages that Linux distributions ship apart from the standard library
(the corpus of one Python version should be the same wherever it runs).
"""

import ast
import functools
import gc
import hashlib
import json
import os
import platform
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from suexp.data.cache import cached
from suexp.data.document import share, without_repeats
from suexp.errors import UserError

LEFT_OUT = {
    *("test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"),
    *("lib-dynload", "pydoc_data", "__phello__", "msilib", "ensurepip", "distutils", "lib2to3"),
    *("tkinter", "turtle.py", "turtledemo", "idlelib"),
}
GENERATED = ("_sysconfigdata", "_sysconfig_vars", "config-", "_build_details")


def library() -> Path:
    """Return the folder of the standard library's source files."""
    return Path(sysconfig.get_path("stdlib"))


@functools.cache
def sources() -> dict[str, int]:
    """Return name -> size in bytes of the source files, sorted by name (``email/message.py``)."""
    root = str(library())
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if _wanted(name)]
        for name in files:
            if name.endswith(".py") and _wanted(name):
                path = os.path.join(folder, name)  # noqa: PTH118  (Path is slow for 700 files)
                found[os.path.relpath(path, root).replace(os.sep, "/")] = os.stat(path).st_size  # noqa: PTH116
    if not found:
        raise UserError(
            f"this Python has no source files of its standard library in {root}; "
            "use data=files with texts of your own"
        )
    return dict(sorted(found.items()))


def _wanted(name: str) -> bool:
    return name not in LEFT_OUT and not name.startswith(GENERATED)


@functools.cache
def key() -> str:
    """Return a hash of what the texts depend on: Python's version, the files' names and sizes."""
    facts = [platform.python_implementation(), platform.python_version(), sources()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def code() -> Iterator[tuple[str, str]]:
    """Yield name and text of the source files, in no telling order.

    The codecs' tables (``encodings``) are left out: numbers make up most of them.
    """
    for name in sorted(sources(), key=lambda name: share(name, "order")):
        text = (library() / name).read_bytes().decode(errors="replace")
        if text and not name.startswith("encodings/"):
            yield name, text


@functools.cache
def documentation() -> dict[str, str]:
    """Return name -> text of the topics and of each module's docstrings, in no telling order.

    Paragraphs that an earlier document holds already are left out (see `without_repeats`).
    """
    modules: dict[str, list[str]] = {}
    for module, text in docstrings():
        modules.setdefault(module, []).append(text)
    texts = {name: "\n\n".join(parts) for name, parts in modules.items()}
    unique = without_repeats([*_topics().items(), *texts.items()])
    return {name: unique[name] for name in sorted(unique, key=lambda name: share(name, "order"))}


def _topics() -> dict[str, str]:
    path = library() / "pydoc_data" / "topics.py"
    if not path.exists():  # a trimmed Python; its docstrings remain
        return {}
    body = ast.parse(path.read_bytes()).body
    table = next(node.value for node in body if isinstance(node, ast.Assign))
    return {f"topics/{name}": text for name, text in sorted(ast.literal_eval(table).items())}


def docstrings() -> list[tuple[str, str]]:
    """Return (module's file name, docstring) of every documented module, class and function."""
    return [(module, docstring) for module, _, docstring in documented()]


@functools.cache
def documented() -> list[tuple[str, str, str]]:
    """Return (module's file name, qualified name, docstring); a module's own name is empty."""
    folder = cached(f"documented-{key()}", _write_docstrings)
    text = (folder / "docstrings.json").read_text(encoding="utf-8")
    return [(module, name, docstring) for module, name, docstring in json.loads(text)]


def _write_docstrings(folder: Path) -> None:
    found: list[tuple[str, str, str]] = []
    collecting = gc.isenabled()
    gc.disable()  # looking at the many small objects of syntax trees would double the time
    try:
        for name in sources():
            found += [(name, inner, text) for inner, text in _docstrings_of(library() / name)]
    finally:
        if collecting:
            gc.enable()
    (folder / "docstrings.json").write_text(json.dumps(found), encoding="utf-8")


def _docstrings_of(path: Path) -> list[tuple[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            return []
    found: list[tuple[int, str, str]] = []

    def walk(node: ast.AST, name: str) -> None:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{name}.{node.name}" if name else node.name
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                text = text.encode(errors="replace").decode()
                found.append((getattr(node, "lineno", 0), name, text))
        if not isinstance(node, ast.expr):
            for child in ast.iter_child_nodes(node):
                walk(child, name)

    walk(tree, "")
    found.sort(key=lambda item: item[0])
    return [(name, text) for _, name, text in found]
