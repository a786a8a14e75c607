"""Experiment files made from the shipped ones, one part of each gone wrong."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import yaml

from suexp.config.catalogue import EXPERIMENT_KEYS
from suexp.config.yaml_file import load_yaml
from suexp.folders import conf_dir

# The shorter half: the others have arms by the dozen, each of which is composed.
FILES = sorted((conf_dir() / "experiment").glob("*.yaml"), key=lambda path: path.stat().st_size)[
    :20
]
# What nobody means to write.
VALUES: tuple[Any, ...] = (
    *(None, True, 5, -1, 1.5, 2**40, 10**30, float("nan"), float("inf"), "", "abc", "null", "a: b"),
    *([], [1, 2], [None], [[1], [2]], {}, {"a": 1}, {1: 2}, {"a": {"b": [None]}}, [{"a": []}]),
    *(
        "${seed}",
        "${nothing.here}",
        "${",
        "~",
        "~x",
        "科学",
        "\u202e",
        "a\nb",
        "x" * 300,
        "a=b c=d",
    ),
    *("val/loss@abc", "val/loss[nobody] < 1", "(((", "slope(", "os.system", "../..", "{a: 1}"),
)
# What goes wrong in the text itself.
TEXTS = (
    lambda line: "\t" + line,
    lambda line: line + "\n" + line,
    lambda line: line + " [",
    lambda line: line + ' "',
    lambda line: " " + line,
    lambda line: line.replace(":", "", 1),
    lambda line: line.replace(": ", ": *a", 1),
    lambda line: line.replace(": ", ": &a ", 1),
    lambda line: line.replace(": ", ": !!python/object:os.system ", 1),
    lambda line: line.replace(": ", ": !!int ", 1),
    lambda line: "- " + line,
    lambda line: "%" + line,
    lambda line: line + "\x07",
    lambda line: "---\n" + line,
    lambda line: line.replace(": ", ": " + "[" * 2000, 1),
    lambda line: line.replace(": ", ": " + "9" * 5000 + " #", 1),
)
BOMB = "".join(f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 9) if i else '1'}]\n" for i in range(12))


def broken(rng: random.Random) -> tuple[str, str]:
    """Return a file's text, and in a few words what is wrong with it."""
    file = rng.choice(FILES)
    text = file.read_text(encoding="utf-8")
    if rng.random() < 0.3:
        lines = text.split("\n")
        place = rng.choice([i for i, line in enumerate(lines) if line.strip()])
        change = rng.randrange(len(TEXTS) + 2)
        if change == len(TEXTS):
            return text + BOMB, f"{file.stem}: bomb"
        if change > len(TEXTS):
            return "\n".join(lines[:place]), f"{file.stem}: cut at {place}"
        lines[place] = TEXTS[change](lines[place])
        return "\n".join(lines), f"{file.stem}, line {place}: text {change}"
    content = copy.deepcopy(load_yaml(file))
    path = rng.choice(
        [path for path in _paths(content) if path[0] in (*EXPERIMENT_KEYS, "defaults")]
    )
    *way, last = path
    node: Any = content
    for key in way:
        node = node[key]
    value = rng.choice(VALUES)
    kind = rng.random()
    if kind < 0.15:
        del node[last]
    elif kind < 0.3 and isinstance(node, dict):
        node[rng.choice(("x", 5, None, True, "a b", "${x}", "科学", f"{last}s"))] = node.pop(last)
    else:
        node[last] = value
    header = "# @package _global_\n" if rng.random() < 0.97 else ""
    return header + yaml.safe_dump(content, sort_keys=False), f"{file.stem}: {path} {value!r:.40}"


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the way to every key and place; the few near the top more often."""
    for key in (
        node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    ):
        yield from [(*path, key)] * max(1, 12 >> 2 * len(path))
        yield from _paths(node[key], (*path, key))
