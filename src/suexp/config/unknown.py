"""One line for an option or a key that is not there, with the near match."""

from collections.abc import Iterator, Sequence
from typing import Any

from suexp.config.catalogue import EXPERIMENT_KEYS, Catalogue
from suexp.near import ALIASES, hint, nearest


def unknown_option(group: str, name: str, catalogue: Catalogue) -> str:
    """Return the line for ``group=name`` where the group has no such option."""
    options = list(catalogue.groups.get(group, {}))
    if nearest(name, options) is None:
        for other in catalogue.named(name):
            return f"{group}={name}: {name} is no {group}; did you mean {other.group}={name}?"
    return f"{group}={name}: no such option; {hint(name, options, f'{group}=')}"


def unknown_key(
    key: str,
    catalogue: Catalogue,
    value: str = "",
    chosen: Sequence[str] = (),
) -> str:
    """Return the line for a key, or a group, that the config does not have.

    Args:
        key: as on the command line, for example ``optimizer.lrr``.
        catalogue: what there is.
        value: what it was to be set to.
        chosen: the experiments that were chosen, whose keys count too.
    """
    suffix = f"={value}" if value else ""
    head, _, rest = key.partition(".")
    tree = catalogue.keys(chosen)
    owner = next((name for name in catalogue.experiments_with(key) if name not in chosen), None)
    if owner is not None and not any(catalogue.options_with(key, exact=True)):
        return f"{key}{suffix}: only experiment={owner} has this key; choose it too"
    if "/" in head and not rest:
        return _unknown_path(key, catalogue)
    if not rest:
        for path in _deep(head, tree):
            return f"{key}{suffix}: no such key; did you mean {path}{suffix}?"
        named = [option.group for option in catalogue.named(value)] if value else []
        match = nearest(head, [*named, *tree], 0.75) or nearest(head, [*named, *catalogue.groups])
        if match is not None:
            is_group = match in catalogue.groups
            what = "group" if is_group else "key"
            return f"{key}{suffix}: no such {what}; did you mean {match}{suffix}?"
        groups = ", ".join(catalogue.groups)
        return f"{key}{suffix}: no such group or key; the groups are {groups}"
    if head in EXPERIMENT_KEYS and head not in tree:
        return f"{key}: only experiments have {head}; choose one with experiment=..."
    if head not in tree:
        match = nearest(head, tree)
        if match is None:
            return f"{key}: there is no {head}; {hint(head, list(catalogue.groups))}"
        return f"{key}: there is no {head}; did you mean {match}.{rest}?"
    return _unknown_inner(key, tree, catalogue)


def _unknown_path(key: str, catalogue: Catalogue) -> str:
    head, _, rest = key.rpartition("/")
    if head in catalogue.groups:
        near = hint(rest, list(catalogue.groups[head]), f"{head}=")
        return f"{key}: a choice is written with =; {near}"
    return f"{key}: no such group; {hint(key, list(catalogue.groups))}"


def _unknown_inner(key: str, tree: dict[str, Any], catalogue: Catalogue) -> str:
    """Walk down as far as the key goes; the first part that is not there is the mistake."""
    parts = key.split(".")
    node: Any = tree
    for depth, part in enumerate(parts):
        if not isinstance(node, dict):
            return f"{key}: {'.'.join(parts[:depth])} is a single value, not a group of keys"
        if part in node:
            node = node[part]
            continue
        before, after = ".".join(parts[:depth]), ".".join(parts[depth + 1 :])
        match = nearest(part, _visible(node))
        if match is not None:
            corrected = ".".join(filter(None, [before, match, after]))
            return f"{key}: no such key; did you mean {corrected}?"
        if depth == 1 and part in catalogue.groups.get(before, {}):
            return f"{key}: an option is chosen with =; did you mean {before}={part}?"
        for path in _deep(part, tree):
            if not after:
                return f"{key}: no such key in {before}; did you mean {path}?"
        keys = ", ".join(_visible(node)) or "no keys"
        return f"{key}: no such key; {before} has {keys}"
    owners = list(catalogue.options_with(key))
    if owners:
        options = " or ".join(f"{option.group}={option.name}" for option in owners[:4])
        return f"{key}: the chosen {owners[0].group} has no such key; it is one of {options}"
    return f"{key}: no such key in this config"


def _deep(word: str, tree: dict[str, Any]) -> Iterator[str]:
    """Give the keys one level down that bear this name or its alias."""
    wanted = {word, ALIASES.get(word, word)}
    for group, node in tree.items():
        if isinstance(node, dict):
            for key in node:
                # The inner names of an experiment are its own, not keys to hint at.
                if key in wanted and group not in (*EXPERIMENT_KEYS, "scale"):
                    yield f"{group}.{key}"


def _visible(node: dict[str, Any]) -> list[str]:
    return [str(key) for key in node if not str(key).startswith("_")]
