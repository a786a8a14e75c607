"""What a class says of itself in its source file, read without importing it.

Importing a component imports torch, which takes seconds; its docstring, its constructor's
arguments and its capability tables stand in the source all the same.
"""

import ast
import functools
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suexp.errors import UserError

# Bases whose constructors take nothing that a config could give.
_PLAIN_BASES = {"object", "ABC", "Generic", "Protocol", "Module", "LightningModule", "Callback"}


@dataclass(frozen=True)
class Parameter:
    """A constructor argument: annotation and default are syntax trees, None where absent."""

    name: str
    annotation: ast.expr | None
    default: ast.expr | None
    module: "Module"


@dataclass(frozen=True)
class Signature:
    """The named arguments of a constructor; ``open`` when it takes others that nobody can know."""

    parameters: dict[str, Parameter]
    open: bool


@dataclass(frozen=True)
class Module:
    """A parsed source file."""

    name: str
    path: Path
    tree: ast.Module = field(repr=False, hash=False, compare=False)

    @functools.cached_property
    def doc(self) -> str:
        """The docstring, dedented."""
        return _docstring(self.tree)

    @functools.cached_property
    def definitions(self) -> dict[str, ast.AST]:
        """What the module's top level binds: classes, functions, values, and imports."""
        found: dict[str, ast.AST] = {}
        for node in _statements(self.tree.body):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                found[node.name] = node
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    found[alias.asname or alias.name.split(".")[0]] = node
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        found[target.id] = node.value
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                found[_dotted(node.target) or ""] = node.value
        return found

    def imported(self, name: str) -> str | None:
        """Return the dotted name that a local name stands for, if an import brought it."""
        node = self.definitions.get(name)
        if isinstance(node, ast.ImportFrom):
            package = self.name.split(".")
            if node.level:
                drop = node.level - (self.path.name == "__init__.py")
                package = package[: len(package) - drop]
                prefix = ".".join([*package, *([node.module] if node.module else [])])
            else:
                prefix = node.module or ""
            original = next(a.name for a in node.names if (a.asname or a.name) == name)
            return f"{prefix}.{original}"
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname == name:
                    return alias.name
            return name
        return None

    def lookup(self, node: ast.expr) -> "tuple[Module, ast.AST] | str | None":
        """Return where a name leads: its module and syntax tree, or the dotted name if unread."""
        dotted = _dotted(node)
        if dotted is None:
            return None
        head, _, rest = dotted.partition(".")
        full = self.imported(head)
        if full is None:
            definition = None if rest else self.definitions.get(head)
            return (self, definition) if definition is not None else dotted
        full = f"{full}.{rest}" if rest else full
        # Other people's packages are large and say nothing of capabilities: not opened.
        if full.split(".")[0] not in (self.name.split(".")[0], "suexp"):
            return full
        return find(full) or full


@dataclass(frozen=True)
class Target:
    """A class or function that a config names, as its source describes it."""

    name: str
    module: Module
    node: ast.ClassDef | ast.FunctionDef

    @property
    def doc(self) -> str:
        """The docstring, dedented; a constructor's own docstring is appended."""
        own = _docstring(self.node)
        if isinstance(self.node, ast.ClassDef):
            constructor = _method(self.node, "__init__")
            if constructor is not None and _docstring(constructor):
                own = f"{own}\n\n{_docstring(constructor)}"
        return own

    @functools.cached_property
    def lineage(self) -> "tuple[Target, ...]":
        """The class and the bases whose source is at hand, in the order of lookup."""
        return tuple(item for item in self._walk() if isinstance(item, Target))

    @functools.cached_property
    def ancestors(self) -> set[str]:
        """The names of the class and of its bases, also of those whose source is not at hand."""
        names = (item if isinstance(item, str) else item.name for item in self._walk())
        return {name.rpartition(".")[2] for name in names}

    def _walk(self) -> "list[Target | str]":
        found: list[Target | str] = [self]
        for base in self.node.bases if isinstance(self.node, ast.ClassDef) else []:
            base = base.value if isinstance(base, ast.Subscript) else base
            result = self.module.lookup(base)
            if isinstance(result, tuple) and isinstance(result[1], ast.ClassDef):
                found += Target(result[1].name, result[0], result[1])._walk()
            else:
                found.append(result if isinstance(result, str) else "?")
        # A shared base comes after all that derive from it, so the last mention counts.
        keys = [item if isinstance(item, str) else (item.module.name, item.name) for item in found]
        return [item for i, item in enumerate(found) if keys[i] not in keys[i + 1 :]]

    @functools.cached_property
    def signature(self) -> Signature:
        """The constructor's arguments; ``**kwargs`` are followed to the next constructor."""
        if isinstance(self.node, ast.FunctionDef):
            parameters, rest = _arguments(self.node, self.module, method=False)
            return Signature(parameters, open=rest)
        found: dict[str, Parameter] = {}
        for item in self._walk():
            if isinstance(item, str):
                if item.rpartition(".")[2] not in _PLAIN_BASES:
                    return Signature(found, open=True)
                continue
            assert isinstance(item.node, ast.ClassDef)
            constructor = _method(item.node, "__init__")
            if constructor is not None:
                parameters, rest = _arguments(constructor, item.module, method=True)
                found = {**parameters, **found}
                if not rest:
                    return Signature(found, open=False)
            elif _is_dataclass(item.node):
                fields: dict[str, Parameter] = {}
                for ancestor in reversed(item.lineage):
                    assert isinstance(ancestor.node, ast.ClassDef)
                    if _is_dataclass(ancestor.node):
                        fields |= _fields(ancestor.node, ancestor.module)
                return Signature({**fields, **found}, open=False)
        return Signature(found, open=False)

    def literal(self, name: str, default: Any) -> Any:
        """Return a class attribute that is written as a literal, the nearest class's first.

        Raises:
            UserError: it is not a literal.
        """
        for item in self.lineage:
            for node in item.node.body:
                if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
                    continue
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if name in map(_dotted, targets):
                    try:
                        return ast.literal_eval(node.value)
                    except ValueError as error:
                        raise UserError(
                            f"{item.module.path}, line {node.lineno}: {name} of {item.name} is "
                            "read without importing the class; write it as a literal"
                        ) from error
        return default


def find(dotted: str) -> tuple[Module, ast.AST] | None:
    """Return the module and definition that a dotted name leads to, or None if it has no source."""
    parts = dotted.split(".")
    path, used = locate(parts)
    if path is None:
        return None
    module = _parse(path, ".".join(parts[:used]))
    if module is None:
        return None
    if used == len(parts):
        return module, module.tree
    name = parts[used]
    node = module.definitions.get(name)
    if node is None:
        # Packages whose names are found by file name (suexp.lazy).
        for candidate in path.parent.glob("*.py") if path.name == "__init__.py" else ():
            if candidate.stem != "__init__" and candidate.stem.replace("_", "") == name.lower():
                return find(".".join([*parts[:used], candidate.stem, *parts[used:]]))
        return None
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        full = module.imported(name)
        # A name that leads back to itself (`from x import x` inside x) has no source here.
        return find(full) if full and full != dotted else None
    return (module, node) if used + 1 == len(parts) else None


@functools.cache
def read(dotted: str) -> Target | None:
    """Return what the source says of a ``_target_``, or None if there is no source to read."""
    try:
        found = find(dotted)
    except RecursionError:
        return None
    if found and isinstance(found[1], (ast.ClassDef, ast.FunctionDef)):
        return Target(found[1].name, found[0], found[1])
    return None


@functools.cache
def _parse(path: Path, name: str) -> Module | None:
    try:
        return Module(name, path, ast.parse(path.read_bytes()))
    except (OSError, SyntaxError, ValueError):
        return None


def locate(parts: list[str]) -> tuple[Path | None, int]:
    """Return the deepest source file on a dotted name's way, and how many parts lead to it."""
    folder = package_path(parts[0])
    if folder is None:
        return None, 0
    if folder.suffix == ".py":
        return folder, 1
    best = (folder / "__init__.py", 1) if (folder / "__init__.py").exists() else (None, 0)
    for used, part in enumerate(parts[1:], start=2):
        if (folder / part / "__init__.py").exists():
            best = (folder / part / "__init__.py", used)
        elif (folder / f"{part}.py").exists():
            return folder / f"{part}.py", used
        elif not (folder / part).is_dir():
            break
        folder = folder / part
    return best


@functools.cache
def package_path(name: str) -> Path | None:
    """Return a top-level package's folder or a module's file, without importing it."""
    if name == "suexp":
        return Path(__file__).parents[1]
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _statements(node.body)
            yield from _statements(node.orelse)
        elif isinstance(node, ast.Try):
            yield from _statements(node.body)
        else:
            yield node


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = _dotted(node.value)
        return f"{head}.{node.attr}" if head else None
    return None


def _method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    return next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == name), None)


def constructor(target: Target) -> ast.FunctionDef | None:
    """Return the constructor that a class itself defines, or what its data class adds to it."""
    if not isinstance(target.node, ast.ClassDef):
        return None
    return _method(target.node, "__init__") or _method(target.node, "__post_init__")


def _is_dataclass(node: ast.ClassDef) -> bool:
    names = [_dotted(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list]
    return any(name and name.rpartition(".")[2] == "dataclass" for name in names)


def _fields(node: ast.ClassDef, module: Module) -> dict[str, Parameter]:
    return {
        item.target.id: Parameter(item.target.id, item.annotation, item.value, module)
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and "ClassVar" not in ast.dump(item.annotation)
    }


def _arguments(
    function: ast.FunctionDef, module: Module, method: bool
) -> tuple[dict[str, Parameter], bool]:
    """Return the named arguments, and whether ``**kwargs`` takes others."""
    spec = function.args
    positional = [*spec.posonlyargs, *spec.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(spec.defaults))
    pairs = [
        *zip(positional, [*defaults, *spec.defaults], strict=True),
        *zip(spec.kwonlyargs, spec.kw_defaults, strict=True),
    ]
    return {
        argument.arg: Parameter(argument.arg, argument.annotation, default, module)
        for argument, default in pairs[1 if method else 0 :]
    }, spec.kwarg is not None


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    """Return a docstring dedented; ast.get_docstring would import inspect for it."""
    first = node.body[0] if node.body else None
    if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
        return ""
    if not isinstance(first.value.value, str):
        return ""
    head, *rest = first.value.value.expandtabs().strip("\n").split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return "\n".join([head.strip(), *(line[margin:].rstrip() for line in rest)]).strip()


_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields|Example|Examples):\s*$", re.M)


def sections(doc: str) -> dict[str, str]:
    """Split a docstring into its Google-style sections; the text before them is under ``""``."""
    parts = _SECTION.split(doc)
    found = {"": parts[0].strip()}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        # A section ends where its indentation does.
        lines = body.strip("\n").split("\n")
        inside = next((i for i, ln in enumerate(lines) if ln and not ln[0].isspace()), len(lines))
        found[name] = "\n".join(lines[:inside]).rstrip()
        tail = "\n".join(lines[inside:]).strip()
        if tail:
            found[""] += f"\n\n{tail}"
    return found


def meanings(doc: str) -> dict[str, str]:
    """Return what the ``Args`` section says of each argument, each as one line."""
    found: dict[str, str] = {}
    name = ""
    margin = None
    for line in sections(doc).get("Args", "").split("\n"):
        indent = len(line) - len(line.lstrip())
        margin = indent if margin is None and line.strip() else margin
        entry = re.match(r"\s*\*{0,2}(\w+(?:, \w+)*)(?: \([^)]*\))?:\s*(.*)$", line)
        if entry and indent == margin:
            name = entry[1]
            found[name] = entry[2]
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return {single: text for names, text in found.items() for single in names.split(", ") if single}
