"""One line for a mistake on the command line, with the near match.

Hydra advises ``+key`` for a key that it does not know, which makes a misspelling succeed in
silence; no message here does.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

from suexp.catalogue import Catalogue, has_key
from suexp.errors import UserError

# What other programs call a key.
ALIASES = {
    "accumulate": "accumulate_grad_batches",
    "bs": "batch_size",
    "clip": "gradient_clip_val",
    "context_length": "block_size",
    "d_head": "head_dim",
    "d_model": "dim",
    "depth": "num_layers",
    "embed_dim": "dim",
    "gpus": "devices",
    "heads": "num_heads",
    "hidden_dim": "dim",
    "hidden_size": "dim",
    "layers": "num_layers",
    "learning_rate": "lr",
    "max_len": "max_length",
    "max_seq_len": "max_length",
    "n_embd": "dim",
    "n_head": "num_heads",
    "n_heads": "num_heads",
    "n_layer": "num_layers",
    "n_layers": "num_layers",
    "nb_features": "num_features",
    "output_dir": "out",
    "random_seed": "seed",
    "seq_len": "block_size",
    "sequence_length": "block_size",
    "steps": "max_steps",
    "wd": "weight_decay",
}


# The parts of an experiment: their inner names are its own, not keys to hint at.
EXPERIMENT_KEYS = {"arms", "claims", "figures", "post", "scale", "scales", "tune"}

_NO_CHOICE = "null is not an option; to choose nothing write ~{0}"


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known word most like this one; case, hyphens and underscores do not count."""
    best, best_score = None, cutoff
    plain = _plain(word)
    alias = _plain(ALIASES.get(word.lower(), word))
    for candidate in known:
        other = _plain(candidate)
        if other in (plain, alias):
            return candidate
        matcher = SequenceMatcher(None, plain, other)
        if matcher.real_quick_ratio() >= best_score and matcher.ratio() > best_score:
            best, best_score = candidate, matcher.ratio()
    return best


def hint(word: str, known: Sequence[str], prefix: str = "", suffix: str = "") -> str:
    """Return the near match as a clause, or what there is to choose from."""
    match = nearest(word, known)
    if match is not None:
        return f"did you mean {prefix}{match}{suffix}?"
    if not known:
        return "there is nothing to choose from"
    return f"choose from {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}"


def near(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Return `hint` as the end of a sentence."""
    return f"; {hint(word, list(known), prefix)}"


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
    if owner is not None:
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
    if head in EXPERIMENT_KEYS - {"scale"} and head not in tree:
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
    owners = [
        option.name
        for option in (catalogue.options(parts[0]) if parts[0] in catalogue.groups else [])
        if has_key(option.content, parts[1:])
    ]
    if owners:
        options = " or ".join(f"{parts[0]}={name}" for name in owners[:4])
        return f"{key}: the chosen {parts[0]} has no such key; it is one of {options}"
    return f"{key}: no such key in this config"


def _deep(word: str, tree: dict[str, Any]) -> Iterator[str]:
    """Give the keys one level down that bear this name or its alias."""
    wanted = {word, ALIASES.get(word, word)}
    for group, node in tree.items():
        if isinstance(node, dict):
            for key in node:
                if key in wanted and group not in EXPERIMENT_KEYS:
                    yield f"{group}.{key}"


def _visible(node: dict[str, Any]) -> list[str]:
    return [str(key) for key in node if not str(key).startswith("_")]


def _plain(word: str) -> str:
    return re.sub(r"[-_ ]", "", word).lower()


class Case(NamedTuple):
    """What is known of an exception that is to be explained."""

    error: BaseException
    catalogue: Catalogue
    chosen: Sequence[str]


def explain(error: BaseException, conf: Path | Catalogue, overrides: Sequence[str] = ()) -> str:
    """Return one line for an exception of Hydra or OmegaConf raised while composing.

    Args:
        error: the exception.
        conf: the folder of the groups, or the catalogue that was read from it.
        overrides: the command line, for the experiments that it chooses.
    """
    catalogue = conf if isinstance(conf, Catalogue) else Catalogue(base=conf)
    case = Case(error, catalogue, chosen_experiments(overrides))
    text = str(error)
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, UserError):  # raised by a resolver of ours, within OmegaConf
            return str(inner)
        inner = inner.__cause__ or inner.__context__
    for pattern, answer in _ANSWERS:
        found = re.search(pattern, text, re.S)
        if not found:
            continue
        if not isinstance(answer, str):
            line = answer(found, case)
        else:
            place = re.search(r"full_key: (\S+)", text)
            line = answer.format(found[0], *found.groups(), place=place[1] if place else "config")
        if line:
            return str(line)
    if type(error).__name__ == "OverrideParseException":
        return unreadable(getattr(error, "override", ""), text)
    cause = error.__cause__ or error.__context__
    if not text.strip() and cause is not None:
        return explain(cause, catalogue, overrides)
    line = _first_line(text) or type(error).__name__
    if cause is not None and str(cause).strip() and type(cause).__name__ != "KeyError":
        line = f"{line.rstrip('.')}: {_first_line(str(cause))}"
    return line


def chosen_experiments(overrides: Sequence[str]) -> list[str]:
    """Return the experiments that a command line names."""
    values = [item.partition("=")[2] for item in overrides if item.startswith("experiment=")]
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def unreadable(override: str, message: str = "") -> str:
    """Return the line for an override that does not follow the grammar."""
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override}: an override is written key=value"
    if key != key.rstrip() or re.search(r"\s", key):
        return f"{override}: write key=value without blanks around ="
    if value.startswith("="):
        return f"{override}: one = is enough; write {key}={value.lstrip('=')}"
    if re.search(r"[^\w./@+~$-]", key):
        return f"{override}: {key!r} is not a key; a list is set as a whole, key=[1,2]"
    if value.rstrip().endswith(",") or ",," in value or value.startswith(","):
        fixed = ",".join(part for part in value.split(",") if part.strip())
        return f"{override}: a value is missing at a comma; write {key}={fixed}"
    quotes = [mark for mark in "'\"" if value.count(mark) % 2]
    if quotes:
        return f"{override}: a quote {quotes[0]} is not closed"
    for opening, closing in ("[]", "{}", "()"):
        if value.count(opening) != value.count(closing):
            return f"{override}: {opening} and {closing} do not match"
    if "=" in value:
        inner = value.strip("[]")
        items = ",".join(f"'{item.strip()}'" for item in inner.split(","))
        quoted = f"[{items}]" if value.startswith("[") else f"'{value}'"
        return f'{override}: a value that holds = needs quotes; write "{key}={quoted}"'
    if value.startswith("("):
        return f"{override}: a list is written with brackets; write {key}=[{value.strip('()')}]"
    detail = _first_line(message).split(" expecting ")[0]
    return f"{override}: cannot be read{f' ({detail})' if detail else ''}; quote it: {key}='...'"


def sweep_needs_flag(override: str, catalogue: Catalogue) -> str:
    """Return the line for a sweep without -m."""
    key, _, value = override.partition("=")
    listed = (
        "" if key in catalogue.groups or "(" in value else f", or write the list {key}=[{value}]"
    )
    return f"{override}: several values are a sweep; add -m to run each{listed}"


def no_choice(group: str) -> str:
    """Return the line for ``group=null``."""
    return f"{group}=null: {_NO_CHOICE.format(group)}"


def _missing_option(found: re.Match[str], case: Case) -> str:
    group, _, name = found[2].rpartition("/")
    if not group:
        return f"{name}: there is no such config"
    where = "" if found[1] == "config" or found[1].startswith("hydra") else f"{found[1]}.yaml: "
    if not name:
        options = list(case.catalogue.groups.get(group, {}))
        return f"{where}{group}=: names no option; {hint('', options)}"
    if group in case.catalogue.groups:
        return where + unknown_option(group, name, case.catalogue)
    options = [str(option) for option in getattr(case.error, "options", None) or []]
    return f"{where}{group}={name}: no such option; {hint(name, options, f'{group}=')}"


def _could_not_override(found: re.Match[str], case: Case) -> str:
    where, key = found[1] or "", found[2]
    where = "" if where in ("", "config") else f"{where}.yaml: "
    said = re.search(r"use \+(.*)", str(case.error))
    value = said[1].partition("=")[2].strip() if said else ""
    group, _, package = key.partition("@")
    if package:
        if group in case.catalogue.groups:
            return f"{where}{key}: nothing is chosen there; write {group}={value or '...'}"
        return where + unknown_key(group, case.catalogue, value, case.chosen)
    if key.startswith("hydra.") or key.startswith("hydra/"):
        return where + _unknown_hydra(key)
    if value.startswith("{"):
        inner = re.search(r"full_key: (\S+)", str(case.error.__cause__))
        key, value = (inner[1] if inner else key), ""
    return where + unknown_key(key, case.catalogue, value, case.chosen)


def _unknown_hydra(key: str) -> str:
    from hydra.conf import HydraConf
    from hydra.core.config_store import ConfigStore

    if key.startswith("hydra/"):
        groups = ("env", "help", "hydra_help", "hydra_logging", "job_logging", "launcher")
        known = [f"hydra/{name}" for name in (*groups, "output", "sweeper")]
        return f"{key}: no such group; {hint(key, known)}"
    node: Any = HydraConf
    parts = key.split(".")[1:]
    if parts[0] in ("launcher", "sweeper"):
        options = ConfigStore.instance().repo["hydra"][parts[0]].values()
        keys = sorted({name for option in options for name in option.node if name[0] != "_"})
        return f"{key}: no such key; {hint(parts[1], keys, f'hydra.{parts[0]}.')}"
    for depth, part in enumerate(parts):
        fields = {name: f.type for name, f in getattr(node, "__dataclass_fields__", {}).items()}
        if part not in fields:
            before = ".".join(["hydra", *parts[:depth], ""])
            return f"{key}: no such key; {hint(part, list(fields), before)}"
        node = fields[part]
    return f"{key}: no such key"


def _invalid(found: re.Match[str], case: Case) -> str:
    cause = case.error.__cause__ or case.error.__context__
    return f"{found[1]}: {_first_line(str(cause))}" if cause else ""


def _gone(found: re.Match[str], case: Case) -> str:
    return "~" + unknown_key(found[1], case.catalogue, "", case.chosen)


def _sweep(found: re.Match[str], case: Case) -> str:
    return sweep_needs_flag(found[1], case.catalogue)


def _no_group(found: re.Match[str], case: Case) -> str:
    group, _, value = found[1].lstrip("+").partition("=")
    return unknown_key(group, case.catalogue, value, case.chosen)


def _not_in_struct(found: re.Match[str], case: Case) -> str:
    return unknown_key(found[1], case.catalogue, "", case.chosen)


# Hydra 1.3.8's messages, the particular before the general; {1} is the pattern's first group.
_ANSWERS: list[tuple[str, Any]] = [
    (r"In '([^']*)': Could not find '([^']*)'", _missing_option),
    (r"^(?:In '([^']*)': )?Could not override '([^']*)'", _could_not_override),
    (r"Could not delete (?:from config. )?'([^'=]*)(?:=[^']*)?'(?: does not|\. No match)", _gone),
    (
        r"Could not delete from config. The value of '([^']*)' is (.*) and not (.*)\.",
        "~{1}={3}: its value is {2}; write ~{1}",
    ),
    (r"Ambiguous value for argument '(.*?)'\n", _sweep),
    (r"Sweep parameters '(.*)' requires --multirun", _sweep),
    (
        r"Sweeping over Hydra's configuration is not supported : '(.*)'",
        "{1}: Hydra's own settings cannot be swept; give one value",
    ),
    (
        r"An item is already at '([^']*)'.\nEither remove \+ prefix: '(.*?)'",
        "+{2}: {1} exists already; write {2}",
    ),
    (r"Multiple values for ([^.]*)\.", "+{1}: a choice is made there already; leave out the +"),
    (r"force-add of config groups is not supported: '\+*(.*?)'", "++{1}: write {1}"),
    (r"Override (\S+) looks like a config group override", _no_group),
    (r"Config group override must be .* Got NoneType", _NO_CHOICE.format("group")),
    (r"Config group override .*must be", "a group's choice is the name of one of its options"),
    (r"Additional config directory '(.*)' not found", "--config-dir {1}: there is no such folder"),
    (r"^Error merging override (.*)", _invalid),
    (r"Interpolation key '(.*?)' not found", "{place} refers to {1}, which this config lacks"),
    (r"raised while resolving interpolation: \"?(.*?)\"?(?:\n|$)", "{place}: {1}"),
    (r"(Unsupported interpolation type \S+)", "{place}: {1}"),
    (r"invalid literal for int\(\) with base 10: ('.*')", "seed: {1} is not an int"),
    (r"not in struct\s+full_key: (\S+)", _not_in_struct),
]


def _first_line(text: str) -> str:
    lines = (line.strip() for line in text.split("\n"))
    return next((line for line in lines if line and not line.startswith("To append")), "")
