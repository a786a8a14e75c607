"""Answer a misspelling on a Hydra command line before Hydra is imported.

Only what is certainly wrong is refused here; whatever cannot be judged without composing passes,
and composing catches it.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from suexp.config.catalogue import Catalogue, has_key
from suexp.config.explain import chosen_experiments, no_choice, sweep_needs_flag, unreadable
from suexp.config.quoting import readable
from suexp.config.unknown import unknown_key, unknown_option
from suexp.errors import Misfit, UserError
from suexp.near import near, nearest

SUBCOMMANDS = ("list", "show", "check", "report", "runs", "diff", "rerun", "new")

# Hydra's flags; those in the second table are followed by a value.
_PLAIN = {
    "--help": "-h",
    "--hydra-help": "",
    "--version": "",
    "--resolve": "",
    "--run": "-r",
    "--multirun": "-m",
    "--shell-completion": "-sc",
}
_VALUED = {
    "--cfg": "-c",
    "--package": "-p",
    "--config-path": "-cp",
    "--config-name": "-cn",
    "--config-dir": "-cd",
    "--experimental-rerun": "",
    "--info": "-i",
}
_SHORT = {short: flag for flag, short in {**_PLAIN, **_VALUED}.items() if short}
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_CFG = ("job", "hydra", "all")


class CommandLine(NamedTuple):
    """A Hydra command line: flags with their values, and overrides."""

    flags: dict[str, str]
    overrides: list[str]

    @property
    def sweeps(self) -> bool:
        """Whether every combination of several values is asked for."""
        return "--multirun" in self.flags

    @property
    def config_dir(self) -> str | None:
        """The folder of the user's own options."""
        return self.flags.get("--config-dir")


def ordered(argv: Sequence[str]) -> list[str]:
    """Return the arguments with the command first, and quotes around what Hydra reads only so.

    >>> ordered(["--config-dir", "my_conf", "list", "attention"])
    ['list', '--config-dir', 'my_conf', 'attention']
    >>> ordered(["help", "list"])
    ['list', '--help']
    """
    words, ahead = [readable(word) for word in argv], 0
    while flag := re.fullmatch(r"(?:--config-dir|-cd)(=.*)?", "".join(words[ahead : ahead + 1])):
        ahead += 1 if flag[1] else 2
    flags, words = words[:ahead], words[ahead:]
    if words[:1] == ["help"]:
        words = [*(word for word in words[1:] if word in SUBCOMMANDS), "--help"]
    first = int(bool(words) and words[0] in SUBCOMMANDS)
    return [*words[:first], *flags, *words[first:]]


def split(argv: Sequence[str]) -> CommandLine:
    """Tell flags from overrides, as Hydra's own parser does.

    Raises:
        UserError: an unknown flag, or a flag without its value.
    """
    flags: dict[str, str] = {}
    overrides: list[str] = []
    items = list(argv)
    while items:
        item = items.pop(0)
        if not item.startswith("-") or item == "-":
            overrides.append(item)
            continue
        if item == "--":
            overrides += items
            break
        flag, value = _flag(item)
        if flag in _PLAIN:
            flags[flag] = ""
        elif value is not None:
            flags[flag] = value
        elif flag == "--info" and not (items and items[0] in _INFO):
            flags[flag] = "all"
        elif not items:
            raise UserError(f"{item}: a value is missing")
        else:
            flags[flag] = items.pop(0)
    for flag, known in (("--info", _INFO), ("--cfg", _CFG)):
        if flag in flags and flags[flag] not in known:
            raise UserError(f"{flag} {flags[flag]}: no such choice{near(flags[flag], known)}")
    return CommandLine(flags, overrides)


def _flag(item: str) -> tuple[str, str | None]:
    name, equals, value = item.partition("=")
    known = [*_PLAIN, *_VALUED]
    if name in known:
        return name, value if equals else None
    # Two letters before one: -cd is not -c followed by d.
    for short in sorted(_SHORT, key=len, reverse=True):
        if name == short:
            return _SHORT[short], value if equals else None
    if name.startswith("--"):
        matches = [flag for flag in known if flag.startswith(name)]
        if len(matches) == 1:
            return matches[0], value if equals else None
    else:
        for short in sorted(_SHORT, key=len, reverse=True):
            if item.startswith(short) and _SHORT[short] in _VALUED:
                return _SHORT[short], item[len(short) :]
    raise UserError(f"{name}: no such flag{near(name, known)}")


def plain(command: str, line: CommandLine) -> CommandLine:
    """Return a line that has no flags but -m and --config-dir.

    Raises:
        UserError: another flag.
    """
    unused = {*line.flags} - {"--multirun", "--config-dir"}
    if unused:
        raise UserError(f"{command} {min(unused)}: only -m and --config-dir mean something here")
    return line


def in_full(error: UserError, line: CommandLine) -> str:
    """Return an error's line; where options do not fit together, with ones that do."""
    if not isinstance(error, Misfit) or line.sweeps:
        return str(error)
    from suexp.config.remedy import advised

    return advised(error, line.overrides, line.config_dir)


def precheck(line: CommandLine, catalogue: Catalogue) -> None:
    """Refuse overrides that name no group, option or key, and experiments whose files are wrong.

    Raises:
        UserError: one line with the near match, or with file and line.
    """
    experiments = chosen_experiments(line.overrides)
    for name in filter(lambda name: _known(name, catalogue), experiments):
        from suexp.experiment.schema import check

        check(catalogue.option("experiment", name))
    many = line.sweeps or bool(experiments) or _sets_mode(line.overrides)
    for override in line.overrides:
        _check(override, catalogue, experiments, many)


def _sets_mode(overrides: Sequence[str]) -> bool:
    return any(item.lstrip("+").startswith("hydra.mode=") for item in overrides)


def _check(override: str, catalogue: Catalogue, experiments: list[str], many: bool) -> None:
    found = re.match(r"(\+\+|\+|~)?([^=]*)(=?)(.*)$", override, re.S)
    assert found is not None
    sign, key, equals, value = found[1] or "", found[2], found[3], found[4]
    if not key or not re.fullmatch(r"[\w.@/:$-]+", key) or (not equals and sign != "~"):
        raise UserError(_not_an_override(override, catalogue))
    group = key.partition("@")[0]
    if group.split("/")[0].split(".")[0] == "hydra" or not group:
        return
    values = list(simple_values(value))
    if group in catalogue.groups or group in catalogue.defaults:
        _check_option(override, sign, group, values, catalogue)
    elif "@" in key:
        raise UserError(unknown_key(group, catalogue, value, experiments))
    elif sign in ("", "~"):
        if not _has(group, catalogue, experiments):
            raise UserError(sign + unknown_key(group, catalogue, value, experiments))
    elif "." not in group:
        # An added key is the user's own unless it looks like a group's name gone wrong.
        match = nearest(group, catalogue.groups, 0.75)
        if match is not None:
            raise UserError(f"{override}: no such group; did you mean {match}={value}?")
    several = len(values) > 1 or re.match(r"(choice|interval|range|shuffle)\(", value)
    if several and not many and sign != "~":
        raise UserError(sweep_needs_flag(override, catalogue))


def _check_option(
    override: str, sign: str, group: str, values: list[str], catalogue: Catalogue
) -> None:
    options = catalogue.groups.get(group, {})
    if sign == "++":
        raise UserError(f"{override}: write {override[2:]}")
    for name in values:
        if name == "null" and sign != "~":
            raise UserError(no_choice(group))
        if name == "" and sign != "~":
            if len(values) > 1:
                raise UserError(unreadable(override))
            raise UserError(f"{override}: names no option; choose from {', '.join(options)}")
        if name and name not in options:
            raise UserError(unknown_option(group, name, catalogue))


def _has(key: str, catalogue: Catalogue, experiments: list[str]) -> bool:
    parts = key.split(".")
    if has_key(catalogue.primary, parts) or key in catalogue.defaults:
        return True
    # The group's own options come first: they settle nearly every key, and are few files.
    candidates = [
        *(catalogue.options(parts[0]) if parts[0] in catalogue.groups else ()),
        *(catalogue.option("experiment", name) for name in experiments if _known(name, catalogue)),
    ]
    if any(has_key(option.placed, parts) or option.imports for option in candidates):
        return True
    others = (item for group in catalogue.groups for item in catalogue.options(group))
    return any(
        has_key(option.placed, parts)
        for option in others
        if option.group != "experiment" and "@package" in option.text
    )


def _known(experiment: str, catalogue: Catalogue) -> bool:
    return experiment in catalogue.groups.get("experiment", {})


def simple_values(value: str) -> Iterator[str]:
    """Give the values of a sweep ``a,b``, or the single one; none when it is no plain word."""
    depth, quote, word = 0, "", ""
    parts: list[str] = []
    for letter in value:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in "]})":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(word.strip())
            word = ""
            continue
        word += letter
    parts.append(word.strip())
    if depth == 0 and not quote and all(re.fullmatch(r"[\w.+/-]*", part) for part in parts):
        yield from parts


def _not_an_override(override: str, catalogue: Catalogue) -> str:
    """Return the line for a word that is neither a subcommand nor ``key=value``."""
    if not re.fullmatch(r"[\w/-]+", override):
        return unreadable(override)
    commands = list(SUBCOMMANDS)
    match = nearest(override, commands, 0.7)
    if match is not None:
        return f"{override}: no such command; did you mean suexp {match}?"
    choices = [f"{option.group}={override}" for option in catalogue.named(override)]
    if choices:
        return f"{override}: an override is written key=value; did you mean {' or '.join(choices)}?"
    if override in catalogue.primary:
        return f"{override}: an override is written key=value, {override}=..."
    if override in catalogue.groups:
        return f"{override}: choose an option, {override}=...; suexp list {override} shows them"
    names = [name for options in catalogue.groups.values() for name in options]
    match = nearest(override, names, 0.75)
    if match is not None:
        option = catalogue.named(match)[0]
        return f"{override}: an override is written key=value; did you mean {option.group}={match}?"
    return f"{override}: neither a command ({', '.join(commands)}) nor an override key=value"
