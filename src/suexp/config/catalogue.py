"""What can be chosen: the groups, options and experiments that the file system holds.

Nothing here imports torch, hydra or omegaconf, so that `suexp list` answers at once.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suexp.code.source import Target, read
from suexp.config.yaml_file import lines_of, load_yaml
from suexp.errors import UserError
from suexp.folders import conf_dir

# What an experiment says of its runs; a single run does not depend on it.
EXPERIMENT_KEYS = (
    *("post", "base", "let", "arms", "seeds", "tune"),
    *("claims", "expect", "figures", "scales", "only"),
)
ARM_KEYS = ("add", "like")  # of an arm that the user adds; no file has them
# Groups without a package of components.
_DESCRIPTIONS = {
    "experiment": "A post as one object: arms, seeds, claims, figures.",
    "scale": "How large an experiment runs: seconds, minutes, or the post's own sizes.",
    "trainer": "Lightning's Trainer: devices, precision, number of steps.",
}


@dataclass(frozen=True)
class Option:
    """One file of a group: conf/<group>/<name>.yaml."""

    group: str
    name: str
    path: Path
    catalogue: "Catalogue" = field(repr=False, compare=False)

    @functools.cached_property
    def text(self) -> str:
        """The file as it stands."""
        return self.path.read_text(encoding="utf-8")

    @functools.cached_property
    def package(self) -> str:
        """Where in the config the content goes: the group's name unless a header says otherwise."""
        header = re.search(r"^#\s*@package:?\s+(\S+)", self.text, re.M)
        default = self.group.replace("/", ".")
        return header[1].replace("_group_", default) if header else default

    @functools.cached_property
    def comment(self) -> str:
        """The comment at the top, without the package header."""
        lines: list[str] = []
        for line in self.text.splitlines():
            if re.match(r"#\s*@package", line):
                continue
            if not line.startswith("#"):
                break
            lines.append(line.lstrip("#").strip())
        return "\n".join(lines).strip()

    @functools.cached_property
    def remarks(self) -> dict[str, str]:
        """The comments that stand behind the values, by key."""
        found: dict[str, str] = {}
        for name in self._starts_from:
            found |= self.catalogue.option(self.group, name).remarks
        return found | dict(re.findall(r"^(\w+):.*?\s#\s+(.*)$", self.text, re.M))

    @functools.cached_property
    def raw(self) -> dict[str, Any]:
        """The file's own content, without its defaults list."""
        return {key: value for key, value in self._loaded.items() if key != "defaults"}

    @functools.cached_property
    def _loaded(self) -> dict[str, Any]:
        return load_yaml(self.path)

    @functools.cached_property
    def content(self) -> dict[str, Any]:
        """The content over that of the options of the same group which it starts from."""
        self.ancestors()  # a circle would have no end
        merged: dict[str, Any] = {}
        own = False
        for item in self._defaults:
            if item == "_self_":
                merged = merge(merged, self.raw)
                own = True
            elif (name := self._of_own_group(item)) is not None:
                merged = merge(merged, self.catalogue.option(self.group, name).content)
        return merged if own else merge(merged, self.raw)

    def ancestors(self, trail: tuple[str, ...] = ()) -> list["Option"]:
        """Return the options of its own group that it starts from, and what these start from.

        Args:
            trail: the options that start from this one.

        Raises:
            UserError: it starts from itself.
        """
        trail = (*trail, self.name)
        found = []
        for name in self._starts_from:
            if name in trail:
                circle = " -> ".join([*trail[trail.index(name) :], name])
                line = lines_of(self.path, ["defaults"])[0]
                raise UserError(f"{self.path}, line {line}: defaults: a circle: {circle}")
            option = self.catalogue.option(self.group, name)
            found += [option, *option.ancestors(trail)]
        return found

    @property
    def _defaults(self) -> list[Any]:
        items = self._loaded.get("defaults") or []
        if not isinstance(items, list):
            line = lines_of(self.path, ["defaults"])[0]
            raise UserError(f"{self.path}, line {line}: defaults: must be a list, found {items}")
        return items

    @property
    def _starts_from(self) -> list[str]:
        """The options of its own group in its defaults list."""
        return [name for item in self._defaults if (name := self._of_own_group(item))]

    def _of_own_group(self, item: Any) -> str | None:
        """Return the option of its own group that an entry of a defaults list names."""
        if isinstance(item, dict) and len(item) == 1:
            ((group, name),) = item.items()
            if str(group).split()[-1].split("@")[0] != f"/{self.group}":
                return None
        else:
            name = str(item).removeprefix(f"/{self.group}/").split("@")[0]
        return name if name in self.catalogue.groups.get(self.group, {}) else None

    @functools.cached_property
    def without(self) -> tuple[str, ...]:
        """The groups of which it takes nothing: its defaults list chooses null in them."""
        items = self._loaded.get("defaults") or []
        entries = [entry for item in items if isinstance(item, dict) for entry in item.items()]
        return tuple(
            re.split("@|$", key.removeprefix("override /"))[0]
            for key, option in entries
            if option is None and key.startswith("override /")
        )

    @property
    def imports(self) -> bool:
        """Whether its defaults list brings in options of other groups, with keys of their own."""
        keys = [str(key) for item in self._defaults if isinstance(item, dict) for key in item]
        return any(not key.startswith("override ") for key in keys)

    @property
    def place(self) -> str:
        """The key in the config below which the content stands; empty: at the top."""
        return self.package.removeprefix("_global_").strip(".")

    @property
    def placed(self) -> dict[str, Any]:
        """The content at its place in the config."""
        content = self.content
        for part in reversed(self.place.split(".") if self.place else []):
            content = {part: content}
        return content

    @property
    def target(self) -> str | None:
        """The dotted name of the class."""
        return next((name for _, name in self.targets()), None)

    def targets(self) -> Iterator[tuple[str, str]]:
        """Give the path within the option and the dotted name of each class that it names."""
        yield from _targets(self.content, "")

    @functools.cached_property
    def source(self) -> Target | None:
        """What the class's source says, or None where there is no class or no source."""
        return read(self.target) if self.target else None

    @property
    def description(self) -> str:
        """One line: what it is."""
        if self.comment:
            return self.comment.split("\n")[0]
        if self.source:
            return (self.source.doc or self.source.module.doc).split("\n")[0]
        return ""


class Catalogue:
    """Every group and option; with ``config_dir``, a user's own are added to suexp's.

    Args:
        config_dir: a folder laid out like conf/.

    Raises:
        UserError: the folder does not exist.
    """

    def __init__(self, config_dir: str | Path | None = None, base: Path | None = None) -> None:
        self.roots = [base or conf_dir()]
        if config_dir is not None:
            if not Path(config_dir).is_dir():
                raise UserError(f"--config-dir {config_dir}: there is no such folder")
            self.roots.append(Path(config_dir))
        self._options: dict[tuple[str, str], Option] = {}

    @functools.cached_property
    def groups(self) -> dict[str, dict[str, Path]]:
        """Group -> option -> file, alphabetically; nested groups are ``outer/inner``.

        Raises:
            UserError: an option of the user's bears a name that is taken.
        """
        found: dict[str, dict[str, Path]] = {}
        for root in self.roots:
            for path in root.rglob("*.yaml"):
                group = path.parent.relative_to(root).as_posix()
                if group == "." or group.split("/")[0] == "hydra":
                    continue
                if path.stem in found.get(group, {}):
                    # Hydra would take the first one and not say so.
                    raise UserError(f"{path}: {group}={path.stem} exists already; rename yours")
                found.setdefault(group, {})[path.stem] = path
        return {group: dict(sorted(found[group].items())) for group in sorted(found)}

    def option(self, group: str, name: str) -> Option:
        """Return an option that exists."""
        key = (group, name)
        if key not in self._options:
            self._options[key] = Option(group, name, self.groups[group][name], self)
        return self._options[key]

    def options(self, group: str) -> list[Option]:
        """Return the options of a group that exists."""
        return [self.option(group, name) for name in self.groups[group]]

    def named(self, name: str) -> list[Option]:
        """Return the options of that name in all groups, experiments last."""
        groups = sorted(self.groups, key=lambda group: (group == "experiment", group))
        return [self.option(group, name) for group in groups if name in self.groups[group]]

    @functools.cached_property
    def primary(self) -> dict[str, Any]:
        """The content of config.yaml."""
        return load_yaml(self.roots[0] / "config.yaml")

    @functools.cached_property
    def defaults(self) -> dict[str, str | None]:
        """The option that config.yaml chooses in each group."""
        found: dict[str, str | None] = {}
        for item in self.primary.get("defaults") or []:
            if isinstance(item, dict):
                for group, name in item.items():
                    if not str(group).startswith("override "):
                        found[str(group).removeprefix("optional ")] = name
        return found

    def keys(self, experiments: Iterable[str] = ()) -> dict[str, Any]:
        """Return every key that some choice of options defines, as one nested mapping.

        Args:
            experiments: the experiments whose keys count; the others' do not.
        """
        tree: dict[str, Any] = {k: v for k, v in self.primary.items() if k != "defaults"}
        for group in self.groups:
            for option in self.options(group):
                if group != "experiment" or option.name in experiments:
                    tree = _merge_keys(tree, option.placed)
        for group in (*self.groups, *self.defaults):
            tree.setdefault(group.split("/")[0], {})
        return tree

    def options_with(self, key: str, exact: bool = False) -> Iterator[Option]:
        """Give the options that define a key, for example ``optimizer.lr``; see `has_key`."""
        for group in self.groups:
            for option in self.options(group) if group != "experiment" else []:
                if has_key(option.placed, key.split("."), exact):
                    yield option

    def experiments_with(self, key: str) -> Iterator[str]:
        """Give the experiments that define a key, for example ``arms.lion``."""
        parts = key.split(".")
        for option in self.options("experiment") if "experiment" in self.groups else []:
            # Reading a text is much cheaper than parsing it.
            if all(part in option.text for part in parts) and has_key(
                option.raw, parts, exact=True
            ):
                yield option.name

    def with_limits(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return results with today's limits: words about the runs, often learned from them."""
        slug = results["experiment"]
        if slug not in self.groups.get("experiment", {}) or not results.get("post"):
            return results
        limits = self.option("experiment", slug).content["post"].get("limits") or []
        return results | {"post": results["post"] | {"limits": limits}}

    def describe(self, group: str) -> str:
        """Return one line about a group."""
        if group in _DESCRIPTIONS:
            return _DESCRIPTIONS[group]
        package = read_module_doc(Path(__file__).parents[1] / group / "__init__.py")
        return package.split("\n")[0]


def read_module_doc(path: Path) -> str:
    """Return the docstring of a file without parsing the rest of it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.match(r'\s*(?:#[^\n]*\n)*\s*r?"""(.*?)"""', text, re.S)
    return found[1].strip() if found else ""


def merge(below: Any, above: Any) -> Any:
    """Return two configs merged as OmegaConf merges them: mappings by key, all else replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        over = {key: merge(below[key], above[key]) if key in below else above[key] for key in above}
        return {**below, **over}
    return above


def _merge_keys(below: Any, above: Any) -> Any:
    """Merge two trees of keys; where only one of them has a mapping, that is kept."""
    if isinstance(below, dict) and isinstance(above, dict):
        over = {k: _merge_keys(below[k], v) if k in below else v for k, v in above.items()}
        return {**below, **over}
    return below if isinstance(below, dict) else above


def has_key(tree: Any, parts: Sequence[str], exact: bool = False) -> bool:
    """Tell whether a path leads somewhere in a tree of keys.

    Args:
        tree: nested mappings.
        parts: the path.
        exact: false: below a list, a reference or null anything may be.
    """
    for part in parts:
        if not isinstance(tree, dict):
            return not exact and (tree is None or isinstance(tree, list) or "${" in str(tree))
        if part not in tree:
            return False
        tree = tree[part]
    return True


def _targets(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if isinstance(node.get("_target_"), str):
            yield path, node["_target_"]
        for key, value in node.items():
            yield from _targets(value, f"{path}.{key}" if path else str(key))
