"""YAML files, read as OmegaConf reads them; a mistake in one is told with its line."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from suexp.errors import UserError

# No config holds as many values; a few lines of aliases of aliases stand for billions.
MOST_VALUES = 100_000


class _TwiceError(Exception):
    """A key stands twice in a mapping."""

    def __init__(self, first: yaml.Node, second: yaml.Node) -> None:
        super().__init__(f"{second.value} stands twice, first in line {_line(first)}")
        self.line = _line(second)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as OmegaConf reads it: 1e-3 is a number, 2023-02-16 is text, no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and first.setdefault(key.value, key) is not key:
                raise _TwiceError(first[key.value], key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:timestamp"]
    for first, rules in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?\d[\d_]*\.?[\d_]*[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def load_yaml(path: Path) -> dict[str, Any]:
    """Return a YAML file's mapping, empty for an empty file.

    Raises:
        UserError: the file cannot be read, is not YAML, is not a mapping, has a key twice, or
            aliases that multiply.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = _Loader(text).get_single_node()
        if node is not None and re.search(r"\*\w", text):  # an alias
            _count(node, path, {})
        content = None if node is None else _Loader("").construct_document(node)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except _TwiceError as error:
        raise UserError(f"{path}, line {error.line}: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}, line {line}: not YAML ({error.problem})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise UserError(f"{path}: {error}") from error
    if content is not None and not isinstance(content, dict):
        found = type(content).__name__
        raise UserError(f"{path}, line {_line(node)}: expected `key: value` lines, found a {found}")
    return content or {}


def lines_of(path: Path, keys: Sequence[str | int]) -> list[int]:
    """Return the line of each of the keys, as far down as the file has them.

    Args:
        path: a file that `load_yaml` has read.
        keys: the way to a value: keys of mappings, places in lists.
    """
    node = _Loader(path.read_text(encoding="utf-8")).get_single_node()
    lines = []
    for key in keys:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(key)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            found = (node.value[key], node.value[key]) if key < len(node.value) else None
        if found is None:
            break
        lines.append(_line(found[0]))
        node = found[1]
    return lines


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _count(node: yaml.Node, path: Path, counted: dict[yaml.Node, int]) -> int:
    """Return how many values a node stands for, its aliases written out.

    Raises:
        UserError: too many, or without end.
    """
    if node not in counted:
        counted[node] = MOST_VALUES  # an alias within what it stands for meets this
        children = [] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in children for child in pair]
        size = 1 + sum(_count(child, path, counted) for child in children)
        if size > MOST_VALUES:
            raise UserError(
                f"{path}, line {_line(node)}: its aliases stand for more than {MOST_VALUES} values"
            )
        counted[node] = size
    return counted[node]
