"""``suexp new GROUP NAME``: an option of one's own to begin with, which passes as it is.

The files of `templates/` are of an option called ``example`` in the folder ``my_conf``.
"""

import keyword
import re
from collections.abc import Sequence
from pathlib import Path

from suexp.cli.terminal import parser, show_text
from suexp.config.catalogue import Catalogue
from suexp.errors import UserError, writing
from suexp.near import near

TEMPLATES = Path(__file__).parent / "templates"
GROUPS = sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir())


def run(argv: Sequence[str]) -> int:
    """Write the files, and say what to do with them.

    Raises:
        UserError: another group, a name that is none or is taken.
    """
    arguments = parser("new", "Write an option of your own: class, YAML and a test, all working.")
    arguments.add_argument("group", help=", ".join(GROUPS))
    arguments.add_argument("name", help="in lower case: cosine, my_loss")
    arguments.add_argument(
        "--into", default="my_conf", metavar="DIR", help="the folder of your options; my_conf"
    )
    given = arguments.parse_args(argv)
    into = Path(given.into)
    _check(given.group, given.name, into)
    written = [_write(path, given.name, into) for path in _templates(given.group)]
    show_text("\n".join(map(str, written)))
    show_text(_advice(given.group, given.name, into), "dim")
    return 0


def _check(group: str, name: str, into: Path) -> None:
    if group not in GROUPS:
        raise UserError(f"new {group}: choose from {', '.join(GROUPS)}{near(group, GROUPS)}")
    for word in (name, into.name):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", word) or keyword.iskeyword(word):
            raise UserError(f"new {group}: {word}: a name is lower-case letters, digits and _")
    if name in Catalogue().groups.get(group, {}):
        raise UserError(f"new {group} {name}: suexp has one of this name; take another")
    taken = [path for path in _places(group, name, into) if path.exists()]
    if taken:
        raise UserError(f"new {group} {name}: {taken[0]} exists; take another name")


def _templates(group: str) -> list[Path]:
    return sorted((TEMPLATES / group).glob("*.txt"))


def _place(template: Path, name: str, into: Path) -> Path:
    return into / template.parent.name / template.stem.replace("example", name)


def _places(group: str, name: str, into: Path) -> list[Path]:
    return [_place(template, name, into) for template in _templates(group)]


def _write(template: Path, name: str, into: Path) -> Path:
    kind = "".join(part.capitalize() for part in name.split("_"))
    text = template.read_text(encoding="utf-8")
    for word, own in (("Example", kind), ("example", name), ("my_conf", into.name)):
        text = text.replace(word, own)
    place = _place(template, name, into)
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return place


def _advice(group: str, name: str, into: Path) -> str:
    """Return the commands that come next."""
    path, folder = f"PYTHONPATH={into.parent}", f"--config-dir {into}"
    test = f"  {path} python -m pytest {into / group}"
    if group == "experiment":
        return f"{test}\n  suexp {folder} experiment={name} scale=smoke"
    own = f"{folder} {group}={name} allow_targets={into.name}"
    return f"{test}\n  {path} suexp check --contract {own}\n  {path} suexp {own}"
