"""Rows on a terminal or in a pipe, and arguments of the subcommands."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from suexp.errors import UserError


class Parser(argparse.ArgumentParser):
    """A subcommand's arguments; a mistake is one line, as everywhere in suexp."""

    def error(self, message: str) -> NoReturn:
        """Raise the line.

        Raises:
            UserError: always.
        """
        raise UserError(f"{self.prog.removeprefix('suexp ')}: {message}; see {self.prog} --help")


def parser(command: str, description: str) -> Parser:
    """Return the parser of ``suexp <command>``."""
    made = Parser(prog=f"suexp {command}", description=description, allow_abbrev=False)
    made.add_argument(
        "--config-dir", "-cd", metavar="DIR", help="a folder with options of your own"
    )
    return made


def show_text(text: str, style: str = "") -> None:
    """Print a paragraph; on a terminal in a style of rich's."""
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console

    Console().print(text, style=style, markup=False, highlight=False)


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table: rich's on a terminal, aligned columns in a pipe."""
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        widths = [max([len(row[i]) for row in cells], default=0) for i in range(len(columns))]
        for row in cells:
            line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
            print(line.rstrip())
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None,
        header_style="dim",
        pad_edge=False,
        padding=(0, 2, 0, 0),
        show_header=any(columns),
    )
    for i, column in enumerate(columns):
        table.add_column(column, style="bold" if i == 0 else "", no_wrap=i == 0)
    for row in cells:
        table.add_row(*(Text(text) for text in row))
    Console().print(table)


def counted(number: int, what: str) -> str:
    """Return ``1 run``, ``2 runs``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
