"""Tab completion of subcommands and of words to choose from; Hydra completes the rest."""

import os
import re
from collections.abc import Sequence

from suexp.cli.argv import SUBCOMMANDS
from suexp.config.catalogue import Catalogue
from suexp.config.fits import choices


def answer(argv: Sequence[str]) -> bool:
    """Print the subcommands' part of a shell's query; return whether Hydra has nothing to add.

    Args:
        argv: the arguments, for example ``-sc query=bash``; the line stands in ``COMP_LINE``.
    """
    shell = next((item.partition("=")[2] for item in argv if item.startswith("query=")), None)
    line = os.environ.get("COMP_LINE", "")
    if shell is None or not line.strip():
        return False
    words = line.split()[1:]
    last = "" if line[-1].isspace() or not words else words.pop()
    separator = "\n" if shell == "fish" else " "
    if not words:
        matches = [command for command in SUBCOMMANDS if command.startswith(last)]
        if matches:
            print(separator.join(matches))
        return False
    values = _values(words, last)
    if values:
        print(separator.join(values))
        return True
    if words[0] == "check":
        # `check` takes what a run takes.
        os.environ["COMP_LINE"] = re.sub(r"^(\s*\S+\s+)check\b", r"\1", line)
        return False
    if words[0] in SUBCOMMANDS:
        print(separator.join(name for name in _names(words[0]) if name.startswith(last)))
        return True
    return False


def _values(words: Sequence[str], last: str) -> list[str]:
    """Return ``key=word`` for the words that a component's parameter takes."""
    key, equals, start = last.partition("=")
    group, *names = key.lstrip("+").split(".")
    catalogue = Catalogue()
    chosen = dict(word.split("=", 1) for word in words if "=" in word)
    name = chosen.get(group, catalogue.defaults.get(group))
    if not equals or not names or name not in catalogue.groups.get(group, {}):
        return []
    source = catalogue.option(group, str(name)).source
    parameter = source.signature.parameters.get(names[-1]) if source else None
    if parameter is None or parameter.annotation is None:
        return []
    found = choices(parameter.annotation, parameter.module)
    return [f"{key}={word}" for word in found if word.startswith(start)]


def _names(command: str) -> list[str]:
    """Return what may follow a subcommand; folders and ids are the shell's business."""
    if command == "runs":
        from suexp.store.query import STATUSES

        return [*STATUSES, "experiment=", "arm=", "seed=", "--metric", "--prune", "--sort"]
    groups = Catalogue().groups if command in ("list", "show") else {}
    if command == "list":
        return [*groups, "--json"]
    pairs = [f"{group}/{name}" for group, names in groups.items() for name in names]
    return sorted({*pairs, *(name for names in groups.values() for name in names)})
