"""Command lines made from the real options, one part of each gone wrong."""

import random
from collections.abc import Iterator
from typing import Any

from suexp.config.catalogue import Catalogue
from suexp.config.overrides import typed

CATALOGUE = Catalogue()
# Numbers, containers, references, quotes, letters: what users type, and what nobody should.
VALUES = (
    *("0", "-1", "1", "2", "1.5", "-0.5", "1e3", "1e-300", "1e300", "nan", "inf", "-inf", "0x10"),
    *("2147483648", "9223372036854775807", "9223372036854775808", "9" * 30, "9" * 5000),
    *(
        "abc",
        "true",
        "null",
        "???",
        "",
        "' '",
        "a b",
        "a,b",
        "a,",
        ",",
        "-",
        "--",
        "~",
        "#",
        "%",
        "*",
    ),
    *("[]", "[1,2]", "[null]", "[[1,2],[3]]", "[a,[b]]", "{}", "{a:1}", "{a:{b:[1]}}", "{1:2}"),
    *("${seed}", "${nothing.here}", "${hydra:runtime.cwd}", "${oc.env:HOME}", "${div:1,0}"),
    *("${div:a,b}", "${oc.select:seed}", "${oc.decode:x}", "${no:1}", "${.a}", "${..a}", "${", "$"),
    *("'", '"', "'a", '"a\nb"', "a\nb", "a\rb", "\t", "\\", "[", "]", "{", "}", "(", ")", "a=b"),
    *("choice(1,2)", "range(1,3)", "range(0,999999999)", "glob(*)", "interval(0,1)", "sort(2,1)"),
    *("int(1.5)", "int(a)", "float(a)", "str(1)", "bool(a)", "json_str(1)", "extend_list(1)"),
    *("科学", "é", "\u202ea", "\x1b[31m", "\udcff", "a" * 300, "a/" * 200, "../..", "/nowhere/x"),
    *("os.system", "suexp.cli.main", "torch.nn.Linear", "suexp.mask.causal.Causal"),
)
SIGNS = ("", "", "", "", "", "", "+", "++", "~")


def line(rng: random.Random) -> list[str]:
    """Return overrides: some options, and one to three keys of theirs with any values."""
    groups = [group for group in CATALOGUE.defaults if group != "experiment"]
    chosen = rng.sample(groups, rng.choice((0, 0, 1, 2)))
    choices = [f"{group}={rng.choice([*CATALOGUE.groups[group]])}" for group in chosen]
    if rng.random() < 0.02:
        experiment = rng.choice([*CATALOGUE.groups["experiment"]])
        choices = [f"experiment={experiment}", "scale=smoke", *choices[:1]]
        groups = [group for group in groups if group != "scale"]
    return [
        *choices,
        *(_override(rng, choices, groups) for _ in range(rng.choice((1, 1, 1, 2, 3)))),
    ]


def _override(rng: random.Random, choices: list[str], groups: list[str]) -> str:
    settings = dict(_settings(choices, groups))
    known = [*settings]
    if rng.random() < 0.1:  # what the key says already
        key = rng.choice(known)
        return f"{key}={typed(settings[key])}"
    key, value = (
        rng.choice([rng.choice(groups), *[rng.choice(known) for _ in range(6)]]),
        rng.choice(VALUES),
    )
    sign = rng.choice(SIGNS)
    form = rng.random()
    if form < 0.05:
        return rng.choice(
            (key, f"{key}:{value}", f"{key} = {value}", f"{key}@{value}={value}", value)
        )
    if form < 0.1:
        key = rng.choice(
            (
                f"{key}.{rng.choice(known)}",
                f"{key}[0]",
                key[:-1],
                key + value,
                f"{key}@a",
                f"hydra.{key}",
                "_target_",
                f"{key}._target_",
                f"hydra/{key}",
            )
        )
    if sign == "~" and rng.random() < 0.8:
        return f"~{key}"
    return f"{sign}{key}={value}"


def _settings(choices: list[str], groups: list[str]) -> Iterator[tuple[str, Any]]:
    """Give the settings of the config's top, and those of the options chosen here or by default."""
    names = {**CATALOGUE.defaults, **dict(item.split("=") for item in choices)}
    if names["experiment"]:
        groups = [*groups, "experiment"]
    top = CATALOGUE.primary.items()
    yield from ((key, value) for key, value in top if key not in ("defaults", "hydra"))
    for group in groups:
        if names[group] in CATALOGUE.groups.get(group, {}):
            yield from flat(CATALOGUE.option(group, str(names[group])).placed, "")


def flat(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Give keys and values of nested mappings, those of the mappings themselves included."""
    for key, value in node.items() if isinstance(node, dict) else ():
        yield path + str(key), value
        yield from flat(value, f"{path}{key}.")
