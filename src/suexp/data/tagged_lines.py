"""Rows of CoNLL's files: a token and its tag a line, a blank line between texts."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from suexp.data.lines import Record, lines_of
from suexp.errors import UserError

TAG = re.compile(r"O|[SBIEMLU](-.+)?")
DOCUMENT = "-DOCSTART-"  # the first token of a line that begins a document
PEEKED = 20  # lines by which a file is judged


def is_tagged(path: Path) -> bool:
    """Tell whether a text file has tokens with tags, not words: its first lines end with tags."""
    fields = (_fields(text) for _, text in lines_of(path) if text.strip())
    first = list(islice(fields, PEEKED))
    return bool(first) and all(len(row) > 1 and TAG.fullmatch(row[-1]) for row in first)


def tagged_rows(path: Path) -> Iterator[Record]:
    """Yield ``tokens`` and ``tags`` of each text, with the line in which it begins.

    The token is the first column of a line, the tag the last; tabs or blanks lie between. A line
    that begins with one has a blank as its token.

    Reference: Tjong Kim Sang and De Meulder, https://aclanthology.org/W03-0419.

    Raises:
        UserError: a line with one column.
    """
    start, tokens, tags = 1, list[str](), list[str]()
    for number, line in lines_of(path):
        fields = _fields(line) if line.strip() else [DOCUMENT]
        if fields[0] == DOCUMENT:
            if tokens:
                yield f"{path}:{start}", {"tokens": tokens, "tags": tags}
            start, tokens, tags = number + 1, [], []
            continue
        if len(fields) == 1:
            raise UserError(f"{path}:{number}: one column; a line is a token and its tag")
        tokens.append(fields[0] or " ")
        tags.append(fields[-1])
    if tokens:
        yield f"{path}:{start}", {"tokens": tokens, "tags": tags}


def _fields(line: str) -> list[str]:
    line = line.rstrip()
    return line.split("\t") if "\t" in line else re.split(" +", line)
