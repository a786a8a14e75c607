"""Which tests a change touches: those whose imports, or the options that they name, reach it.

python scripts/touched_tests.py              files that differ from the last commit
python scripts/touched_tests.py main~3       or from another one
.venv/bin/pytest $(python scripts/touched_tests.py)

A test reaches what it imports, however deep, and the classes of the options that its text names as
``group=option``. Tests that go over all options of a group name none: they belong to every change
of a component, and are listed whenever a component changes.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from suexp.code.reach import reach
from suexp.config.catalogue import Catalogue

ROOT = Path(__file__).parents[1]
# Tests of every option of a group: they import what goes over the options.
OVER_ALL = ("suexp.config.catalogue", "suexp.config.compose")
NAMED = re.compile(r"\b(\w+)=\[?(\w+)")


def changed(since: str) -> set[str]:
    """Return the modules and files that differ from a commit, new ones included."""
    told = [
        *_git("diff", "--name-only", since),
        *_git("ls-files", "--others", "--exclude-standard"),
    ]
    return {_module(path) if path.endswith(".py") else path for path in told}


def _git(*words: str) -> list[str]:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def _module(path: str) -> str:
    parts = Path(path).with_suffix("").parts
    parts = parts[1:] if parts[0] == "src" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def options(text: str, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """Give the class and the YAML of each option that a text names."""
    for group, name in set(NAMED.findall(text)):
        if name in catalogue.groups.get(group, {}):
            option = catalogue.option(group, name)
            for _, target in option.targets():
                yield target, option.path.relative_to(ROOT).as_posix()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("since", nargs="?", default="HEAD")
    wanted = changed(parser.parse_args(arguments).since)
    sys.path.insert(0, str(ROOT))
    catalogue = Catalogue()
    components = {t for g in catalogue.groups for o in catalogue.options(g) for _, t in o.targets()}
    component = any(f"{name}." in f"{target}." for name in wanted for target in components)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = _module(path.relative_to(ROOT).as_posix())
        text = path.read_text(encoding="utf-8")
        named = [*options(text, catalogue)]
        found = {*reach([name, *(target for target, _ in named)], ["suexp", "tests"])}
        found |= {yaml for _, yaml in named}
        whole = component and not named and found & {*OVER_ALL}
        if whole or found & wanted:
            print(path.relative_to(ROOT).as_posix())
    return 0


if __name__ == "__main__":
    sys.exit(main())
