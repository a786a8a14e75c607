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


def show_error(line: str) -> None:
    """Print a mistake: one line; on a terminal coloured, and broken between words."""
    if not sys.stderr.isatty():
        print(f"suexp: {line}", file=sys.stderr)
        return
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text.assemble(("suexp: ", "bold red"), line), highlight=False)


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
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if _too_wide(columns, cells, console.width):
        for row in cells:
            console.print(Text(row[0], "bold"))
            for column, cell in zip(columns[1:], row[1:], strict=True):
                if cell:
                    console.print(
                        Padding(
                            Text(f"{column}: " if column else "", "dim") + Text(cell), (0, 0, 0, 2)
                        )
                    )
        return
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
    console.print(table)


def _too_wide(columns: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> bool:
    """Tell whether columns that may be broken from 20 letters on are too wide together."""
    longest = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    return len(columns) > 2 and sum(min(length, 20) + 2 for length in longest) > width


def counted(number: int, what: str) -> str:
    """Return ``1 run``, ``2 runs``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
