"""Refuse a config that cannot work, before anything heavy is imported.

Everything is read from the classes' source (`suexp.code.source`), so that a mistake is answered in
the time that composing takes.
"""

import ast
import functools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suexp.code.bases import check_own
from suexp.code.refusals import refusal
from suexp.code.source import Target, read
from suexp.code.trust import check_targets
from suexp.config.catalogue import Catalogue
from suexp.config.counts import check_counts
from suexp.config.fits import mismatch
from suexp.errors import Misfit, UserError
from suexp.folders import conf_dir
from suexp.near import near
from suexp.origins import alone, origins, place_of
from suexp.redaction import secrets_in

# Of Hydra's instantiate, allowed in every node.
_HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}


def check(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Check a resolved config: what code it names, keys, types, combinations, lengths.

    Args:
        config: the resolved config as plain containers.
        choices: group -> option.

    Raises:
        UserError: the first thing found wrong, in one line.
    """
    own = alone(config)
    check_targets(own, config.get("allow_targets", ()))
    check_own(own)
    check_secrets(own)
    check_combination(config, choices)
    for path, node in _nodes(config):
        declared = _declared(path, choices)
        # As shipped it is right, and Lightning's own files are long to read. 64 is not 64.0.
        shipped = repr(node) == repr(declared)
        source = None if shipped else read(node["_target_"])
        if source is not None:
            _check_arguments(path, node, source, set(declared))
    _check_sizes(config, choices)
    _check_length(config)
    check_counts(config.get("trainer") or {})
    _check_accumulation(config, choices)
    _check_trainer(config, choices)


def check_combination(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Check only what components say of each other; the config may hold interpolations still.

    Raises:
        Misfit: the first combination that cannot work, with its reason.
    """
    components = list(_components(config, choices))
    _check_refusals(components)
    _check_needs(components)


@dataclass(frozen=True)
class _Chosen:
    """A choice, what its class declares, and the groups of which its YAML takes nothing."""

    group: str
    label: str
    provides: tuple[str, ...]
    needs: Mapping[str, str]
    refuses: Mapping[str, str]
    without: tuple[str, ...] = ()
    neutral: bool = False


def _nodes(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every node that names a class; parts that refer to a group are met there only."""
    top = alone(config)

    def walk(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if not isinstance(node, dict):
            return
        if isinstance(node.get("_target_"), str):
            yield path, node
        for key, value in node.items():
            if not (isinstance(value, dict) and value and value == top.get(key)):
                yield from walk(value, f"{path}.{key}")

    for key, value in top.items():
        yield from walk(value, str(key))


def check_secrets(node: Any, where: str = "") -> None:
    """Refuse keys and passwords: files, reports and dashboards keep what is said of a run.

    Args:
        node: a config or a part of it, as plain containers.
        where: what it belongs to.

    Raises:
        UserError: the first one's place; it is not shown itself.
    """
    for path, secret in secrets_in(node):
        raise UserError(f"{where}{path} holds {secret}, which every copy of the config would keep")


@functools.cache
def catalogue_of(folder: Path) -> Catalogue:
    """Return what the folder's files hold, which are read once."""
    return Catalogue(base=folder)


def _declared(path: str, choices: Mapping[str, str]) -> dict[str, Any]:
    """Return what the option's own YAML gives a class; some of it may go to the runner."""
    catalogue = catalogue_of(conf_dir())
    group, *rest = path.split(".")
    if choices.get(group) not in catalogue.groups.get(group, {}):
        return {}
    node: Any = catalogue.option(group, choices[group]).content
    for part in rest:
        node = node.get(part) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}


def _check_arguments(path: str, node: dict[str, Any], source: Target, declared: set[str]) -> None:
    signature = source.signature
    for key in sorted(declared - node.keys()):
        parameter = signature.parameters.get(key)
        if path == "trainer" or (parameter is not None and parameter.default is None):
            raise UserError(f"{path}.{key}: {source.name} needs it; leave out ~{path}.{key}")
    for key, value in node.items():
        if key in _HYDRA_KEYS:
            continue
        parameter = signature.parameters.get(key)
        if parameter is None:
            if not signature.open and key not in declared:
                known = [name for name in signature.parameters if name in node or name in declared]
                raise UserError(
                    f"{path}.{key}: {source.name} takes no '{key}'"
                    f"{near(key, known or list(signature.parameters), f'{path}.')}"
                )
        elif value == "???":
            raise UserError(f"{path}.{key}: a value is missing; give {path}.{key}=VALUE")
        elif parameter.annotation is not None:
            complaint = mismatch(value, parameter.annotation, parameter.module)
            if complaint:
                raise UserError(f"{path}.{key}: {complaint}")
    said = refusal(source, {key: value for key, value in node.items() if key not in _HYDRA_KEYS})
    if said:
        raise UserError(f"{_place(path, said, signature.parameters)}{said}")


def _place(path: str, said: str, parameters: Collection[str]) -> str:
    """Return what stands before a constructor's words, so that they name the config's key."""
    group, word = path.split(".")[0], re.split(r"[^\w.]", said)[0]
    if word.split(".")[0] == group and "." in word:
        return ""
    return f"{path}." if word in parameters else f"{path}: "


def _components(config: Mapping[str, Any], choices: Mapping[str, str]) -> Iterator[_Chosen]:
    chosen = [(key, name) for key, names in choices.items() for name in names.split(",")]
    for place in map(place_of, origins(config)):
        yield _Chosen(place, f"{place}=[...]", (), {}, {})
    for key, option in chosen:
        group = key.split("@")[0]
        node = _at(config, group.replace("/", "."))
        if isinstance(node, Mapping) and "_target_" not in node:
            node = node.get(option)  # a group of which several can be chosen
        if group != "callback":
            yield _component(group, f"{group}={option}", node)
    options = choices.get("callback", "").split(",")
    for name, node in (config.get("callbacks") or {}).items():  # chosen, or named one by one
        yield _component(
            "callback", f"callback={name}" if name in options else f"callbacks.{name}", node
        )


def _component(group: str, label: str, node: Any) -> _Chosen:
    source = _source(node)
    if source is None:
        return _Chosen(group, label, (), {}, {})
    provides = tuple(_provided(source, node))
    needs, refuses = (_reasons(name, source, node) for name in ("needs", "refuses"))
    without = _without(group, label.partition("=")[2])
    neutral = source.literal("neutral", False)
    return _Chosen(group, label, provides, dict(_unmet(needs, node)), refuses, without, neutral)


def _without(group: str, option: str) -> tuple[str, ...]:
    """Return the groups of which an option of suexp's own takes nothing, as its YAML says."""
    catalogue = catalogue_of(conf_dir())
    known = option in catalogue.groups.get(group, {})
    return catalogue.option(group, option).without if known else ()


def _unmet(needs: Mapping[str, str], node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the needs without those, ``data.pairs``, that the component's own parts meet."""
    for feature, reason in needs.items():
        argument, _, wanted = feature.partition(".")
        part: Any = node.get(argument) if "=" not in feature else None
        source = _source(part)
        if source is None or wanted not in _provided(source, part):
            yield feature, reason


def _source(node: Any) -> Target | None:
    """Return what the source of a node's class says, if it names one and there is a source."""
    named = isinstance(node, dict) and isinstance(node.get("_target_"), str)
    return read(node["_target_"]) if named else None


def _at(config: Any, path: str) -> Any:
    """Return what stands under a dotted key, or None."""
    for part in path.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config


def _provided(source: Target, node: dict[str, Any]) -> Iterator[str]:
    """Give the features that the class brings with these arguments."""
    for entry in sorted(source.literal("provides", ())):
        feature, holds = _condition(entry, source, node)
        if holds:
            yield feature


def _reasons(name: str, source: Target, node: dict[str, Any]) -> dict[str, str]:
    """Return feature -> reason of ``needs`` or ``refuses``, as far as their conditions hold."""
    entries = (
        (*_condition(entry, source, node), reason)
        for entry, reason in source.literal(name, {}).items()
    )
    return {feature: reason for feature, holds, reason in entries if holds}


def _condition(entry: str, source: Target, node: dict[str, Any]) -> tuple[str, bool]:
    """Split an entry into its feature and whether its ``if argument[=value]`` holds."""
    feature, _, condition = entry.partition(" if ")
    if named := re.fullmatch(r"\{(\w+)\}", feature):
        feature = place_of(str(_argument(named[1], source, node)))
    argument, equals, wanted = condition.partition("=")
    counted = argument.startswith("len(")
    argument = argument.removeprefix("len(").removesuffix(")")
    value = _argument(argument, source, node)
    if counted:
        value = len(value) if isinstance(value, (list, dict)) else 0
    return feature, not condition or (str(value) == wanted if equals else bool(value))


def _argument(name: str, source: Target, node: dict[str, Any]) -> Any:
    """Return a constructor argument's value in the config, or its default."""
    parameter = source.signature.parameters.get(name)
    default = parameter.default if parameter else None
    return node.get(name, default.value if isinstance(default, ast.Constant) else None)


def _brought(components: list[_Chosen]) -> dict[str, list[_Chosen]]:
    """Return who brings each feature: by declaring it, or by being chosen."""
    found: dict[str, list[_Chosen]] = {}
    for item in components:
        for feature in (item.group, item.label, *item.provides):
            found.setdefault(feature, []).append(item)
    return found


def _check_refusals(components: list[_Chosen]) -> None:
    brought = _brought(components)
    for item in components:
        for feature, reason in item.refuses.items():
            for other in brought.get(feature, []):
                if other is not item:
                    raise _refusal(item, other, reason)
        for group in item.without:
            for other in brought.get(group, []):
                if other.group == group and not other.neutral:
                    raise _refusal(item, other, f"it takes no {group}; leave that choice out")


def _refusal(item: _Chosen, other: _Chosen, reason: str) -> Misfit:
    line = f"{item.label} cannot be combined with {other.label}: {reason}"
    return Misfit(line, (item.label, other.label))


def _check_needs(components: list[_Chosen]) -> None:
    brought = _brought(components)
    for item in components:
        for feature, reason in item.needs.items():
            wanted = frozenset(feature.split(" or "))
            if not wanted & brought.keys():
                named = "=" in feature or feature.startswith("sources.")
                what = feature if named else feature.replace("_", " ")
                raise Misfit(f"{item.label} needs {what}: {reason}", (item.label,), wanted)


def _check_accumulation(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Refuse to accumulate gradients in two places, and to clip what is not whole yet."""
    for name, node in (config.get("callbacks") or {}).items():
        source = _source(node)
        if source is not None and "GradientAccumulationScheduler" in source.ancestors:
            raise UserError(
                f"callbacks.{name}: Lightning's GradientAccumulationScheduler counts batches as "
                "steps; leave it out and set trainer.accumulate_grad_batches"
            )
    trainer = config.get("trainer") or {}
    outer = trainer.get("accumulate_grad_batches") or 1
    inner = (config.get("optimizer") or {}).get("grad_accum_steps") or 1
    for item in _components(config, choices) if outer > 1 else ():
        if "gradient_accumulation" in item.provides:
            raise Misfit(
                f"trainer.accumulate_grad_batches={outer} and {item.label}: accumulate once; "
                "set trainer.accumulate_grad_batches=1 and data.batch_size to the whole batch"
            )
    if outer > 1 and inner > 1:
        raise Misfit(
            f"trainer.accumulate_grad_batches={outer} and optimizer.grad_accum_steps={inner}: "
            "accumulate once, in the trainer or in the optimizer's momentum"
        )
    if inner > 1 and (clip := trainer.get("gradient_clip_val")):
        raise Misfit(
            f"optimizer.grad_accum_steps={inner} and trainer.gradient_clip_val={clip}: each "
            "batch's gradient would be clipped, not their mean; set trainer.gradient_clip_val=null"
        )


def _check_trainer(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Refuse settings of the trainer with which a component cannot work: ``refuses_trainer``."""
    trainer = config.get("trainer") or {}
    for group in choices:
        source = _source(config.get(group))
        refused = source.literal("refuses_trainer", {}) if source is not None else {}
        for key, reason in refused.items():
            if trainer.get(key):
                raise Misfit(
                    f"{group}={choices[group]} cannot be combined with trainer.{key}="
                    f"{trainer[key]}: {reason}; set trainer.{key}=null"
                )


def _check_sizes(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Refuse another size in a part of the model than the model's own, which its YAML refers to."""
    model = config.get("model") or {}
    for group in choices:
        for key, declared in _declared(group, choices).items() if group in model else ():
            found = re.fullmatch(r"\$\{model\.(\w+)\}", str(declared))
            value = _at(config, f"{group}.{key}")
            if found and value != model.get(found[1]):
                raise UserError(
                    f"{group}.{key}={value}: it is the model's, "
                    f"model.{found[1]}={model.get(found[1])}; leave it out"
                )


def _check_length(config: Mapping[str, Any]) -> None:
    """Refuse positions that end before the text does, the data's or one that a callback reads."""
    length = _at(config, "position.max_length")
    block = _at(config, "data.block_size")
    if not isinstance(length, int):
        return
    model = _source(config.get("model"))
    times = model.literal("texts_in_row", 1) if model else 1
    if isinstance(block, int) and block <= length < times * block:
        raise UserError(
            f"position.max_length={length} is shorter than the text, which this model reads "
            f"{times} times in a row, data.block_size={block}; set "
            f"position.max_length={times * block} or data.block_size={length // times}"
        )
    if isinstance(block, int) and length < block:
        raise UserError(
            f"position.max_length={length} is shorter than the text, data.block_size={block}; "
            f"set position.max_length={block} or data.block_size={length}"
        )
    for name, node in (config.get("callbacks") or {}).items():
        source = _source(node)
        argument = source.literal("longest", "") if source else ""
        value = _at(node, argument)
        longest = max(value, default=0) if isinstance(value, list) else value
        if isinstance(longest, int) and length < longest:
            raise UserError(
                f"callbacks.{name}.{argument}: a text of {longest} tokens is longer than "
                f"position.max_length={length}; set position.max_length={longest}, or use "
                "position=rope"
            )
