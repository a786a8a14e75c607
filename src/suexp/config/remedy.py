"""What else to choose where the options that were chosen do not fit together: a line that works.

The misfit says which groups are concerned; options of those of them that the user left open are
tried, the ones that its reason names first, until everything fits.
"""

import heapq
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence

from suexp.config.catalogue import Catalogue, Option
from suexp.config.compose import resolve
from suexp.config.overrides import key_of
from suexp.config.quoting import readable
from suexp.errors import Misfit, UserError
from suexp.origins import KEYS

SECONDS = 5.0  # no one waits longer for advice
MOST = 4  # choices beside the user's own
_CHOICE = re.compile(r"(?<![\w./=])([a-z_]+(?:/[a-z_]+)*)=(\w+)(?![\w.])")
_RUN = r"\[[\w.=', ]*\]"  # overrides of another run
_VALUE = re.compile(
    rf"(?<![\w./=])((?:[a-z_]+(?:\.\w+)+|parent)=(?:{_RUN}|\w+)|sources=\{{\w+:{_RUN}\}})"
)


def advised(error: UserError, overrides: Sequence[str], config_dir: str | None = None) -> str:
    """Return an error's line with a command that fits together at its end, where one is found.

    Args:
        error: what was wrong with the overrides.
        overrides: of one run, as typed.
        config_dir: the user's own options.
    """
    found = fitting(error, overrides, config_dir) if isinstance(error, Misfit) else None
    return f"{error}; this fits: suexp {' '.join(map(_quoted, found))}" if found else str(error)


def _quoted(word: str) -> str:
    """Return a word as a shell takes it, in double quotes where it holds single ones."""
    return f'"{word}"' if "'" in word and not re.search(r'["$`\\!]', word) else shlex.quote(word)


def fitting(
    error: UserError,
    overrides: Sequence[str],
    config_dir: str | None = None,
    seconds: float = SECONDS,
) -> list[str] | None:
    """Return the overrides, and the fewest choices beside them with which all fits together.

    Args:
        error: the misfit that the overrides alone raise.
        overrides: of one run.
        config_dir: the user's own options.
        seconds: how long it may search.

    Returns:
        The overrides that fit; None where nothing was found.
    """
    typed = {key_of(item): item.partition("=")[2] for item in overrides}
    if typed.keys() & {"experiment", "scale"}:
        return None  # whose file chooses, too
    catalogue = Catalogue(config_dir)
    end = time.monotonic() + seconds
    # The fewest guesses first: what a reason names is none.
    queue: list[tuple[float, int, tuple[str, ...], UserError]] = [(0.0, 0, (), error)]
    tried: set[frozenset[str]] = {frozenset()}
    while queue:
        guesses, _, added, misfit = heapq.heappop(queue)
        if added:
            try:
                resolve([*overrides, *added], config_dir)
            except UserError as other:
                misfit = other
            else:
                return [*overrides, *added]
        if time.monotonic() > end or not isinstance(misfit, Misfit):
            continue
        for guess, choice in _candidates(misfit, catalogue, typed):
            said = (*(item for item in added if key_of(item) != key_of(choice)), choice)
            if len(said) <= MOST and frozenset(said) not in tried:
                tried.add(frozenset(said))
                heapq.heappush(queue, (guesses + guess, len(tried), said, misfit))
    return None


def _candidates(
    misfit: Misfit, catalogue: Catalogue, typed: Mapping[str, str]
) -> Iterator[tuple[float, str]]:
    """Give choices that may mend a misfit, each with how much of a guess it is."""
    line, named = str(misfit), set()
    own = [
        catalogue.option(key, value)
        for key, value in typed.items()
        if value in catalogue.groups.get(key, {})
    ]
    for place, (group, option) in enumerate(_CHOICE.findall(line)):
        choice = f"{group}={option}"
        if option in catalogue.groups.get(group, {}) and choice not in misfit.labels:
            named.add(choice)
            if group not in typed:
                yield 0.1 + 0.01 * place, choice
    for value in _VALUE.findall(line):
        key = key_of(value)
        if key not in typed and (key in KEYS or any(catalogue.options_with(key))):
            yield 0.1, readable(value)
    for group in _concerned(misfit, catalogue):
        options = [
            option
            for option in (catalogue.options(group) if group not in typed else [])
            if not {f"{group}={option.name}"} & {*named, *misfit.labels}
            and _helps(option, misfit)
            and not any(_clash(option, other) or _clash(other, option) for other in own)
        ]
        for place, option in enumerate(sorted(options, key=_uses, reverse=True)):
            choice = f"{group}={option.name}"
            yield 1 + 0.3 * place, choice


def _clash(one: Option, other: Option) -> bool:
    """Tell whether an option refuses another, whatever else is chosen."""
    said = one.source.literal("refuses", {}) if one.source else {}
    refused = {entry for entry in said if " if " not in entry} | {*one.without}
    return bool(refused & {other.group, f"{other.group}={other.name}", *_always(other)})


def _always(option: Option) -> set[str]:
    said = option.source.literal("provides", ()) if option.source else ()
    return {entry for entry in said if " if " not in entry}


def _uses(option: Option) -> int:
    """Return how many experiments choose an option: what most choose is the likelier wish."""
    catalogue, choice = option.catalogue, re.compile(rf"\b{option.group}: {option.name}\b")
    experiments = catalogue.options("experiment") if "experiment" in catalogue.groups else []
    return sum(bool(choice.search(item.text)) for item in experiments)


def _concerned(misfit: Misfit, catalogue: Catalogue) -> list[str]:
    """Return the groups whose other options may mend it."""
    groups = [label.partition("=")[0] for label in misfit.labels]
    if misfit.missing:
        groups += [
            group
            for group in catalogue.groups
            if group not in ("experiment", "scale", *groups)
            and any(misfit.missing & _provides(option) for option in catalogue.options(group))
        ]
    return [group for group in dict.fromkeys(groups) if group in catalogue.groups]


def _helps(option: Option, misfit: Misfit) -> bool:
    """Tell whether an option is worth trying: it brings what is missing, or misses it not."""
    if not misfit.missing:
        return True
    own = option.group == misfit.labels[0].partition("=")[0]
    return bool(misfit.missing & _provides(option)) or (own and not _needs(option) & misfit.missing)


def _provides(option: Option) -> set[str]:
    said = option.source.literal("provides", ()) if option.source else ()
    return {f"{option.group}={option.name}", *(entry.partition(" if ")[0] for entry in said)}


def _needs(option: Option) -> set[str]:
    said = option.source.literal("needs", {}) if option.source else {}
    words = (entry.partition(" if ")[0] for entry in said)
    return {feature for word in words for feature in word.split(" or ")}
