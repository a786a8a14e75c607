"""One line for what Hydra refuses.

Hydra advises ``+key`` for a key that it does not know, which makes a misspelling succeed in
silence; no message here does.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from suexp.config.catalogue import Catalogue, has_key
from suexp.config.unknown import unknown_key, unknown_option
from suexp.errors import UserError
from suexp.near import hint

_NO_CHOICE = "null is not an option; to choose nothing write ~{0}"


class Case(NamedTuple):
    """What is known of an exception that is to be explained."""

    error: BaseException
    catalogue: Catalogue
    overrides: Sequence[str]

    @property
    def chosen(self) -> list[str]:
        """The experiments that the command line chooses."""
        return chosen_experiments(self.overrides)


def explain(error: BaseException, conf: Path | Catalogue, overrides: Sequence[str] = ()) -> str:
    """Return one line for an exception of Hydra or OmegaConf raised while composing.

    Args:
        error: the exception.
        conf: the folder of the groups, or the catalogue that was read from it.
        overrides: the command line, for the experiments that it chooses.
    """
    catalogue = conf if isinstance(conf, Catalogue) else Catalogue(base=conf)
    case = Case(error, catalogue, overrides)
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
    if "\n" in value or "\r" in value:
        return f"{override}: a value with a line break needs quotes around it"
    quotes = [mark for mark in "'\"" if value.count(mark) % 2]
    if quotes:
        return f"{override}: a quote {quotes[0]} is not closed"
    for opening, closing in ("[]", "{}", "()"):
        if value.count(opening) != value.count(closing):
            return f"{override}: {opening} and {closing} do not match"
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
    if has_key(case.catalogue.keys(case.chosen), found[1].split("."), exact=True):
        return f"~{found[1]}: nothing stands there; leave it out"
    return "~" + unknown_key(found[1], case.catalogue, "", case.chosen)


def _sweep(found: re.Match[str], case: Case) -> str:
    return sweep_needs_flag(found[1], case.catalogue)


def _no_group(found: re.Match[str], case: Case) -> str:
    group, _, value = found[1].lstrip("+").partition("=")
    return unknown_key(group, case.catalogue, value, case.chosen)


def _not_in_struct(found: re.Match[str], case: Case) -> str:
    return unknown_key(found[1], case.catalogue, "", case.chosen)


def _endless(found: re.Match[str], case: Case) -> str:
    item = next((item for item in case.overrides if re.search(r"\d{4000}", item)), "the config")
    return f"{item}: a number of more than {found[1]} digits"


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
    (r"HydraConfig was not set", "{place}: a run's config does not read Hydra's; type the value"),
    (r"raised while resolving interpolation: \"?(.*?)\"?(?:\n|$)", "{place}: {1}"),
    (r"(Unsupported interpolation type \S+)", "{place}: {1}"),
    (r"invalid literal for int\(\) with base 10: ('.*')", "seed: {1} is not an int"),
    (r"Exceeds the limit \((\d+) digits\)", _endless),
    (r"not in struct\s+full_key: (\S+)", _not_in_struct),
]


def _first_line(text: str) -> str:
    lines = (line.strip() for line in text.split("\n"))
    return next((line for line in lines if line and not line.startswith("To append")), "")
