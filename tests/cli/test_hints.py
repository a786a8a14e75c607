"""What a refusal proposes works as it stands: each hint is followed."""

import re
import shlex
from pathlib import Path

import pytest

from suexp.code.instantiate import instantiate
from suexp.errors import UserError
from suexp.job.build import build
from suexp.launch.spec import spec_of

SMALL = ("model.dim=8", "model.num_heads=2", "model.num_layers=1", "data.val_fraction=0.3")
CLASSES = "task=classification data=files data.kind=classification data.tokenizer=bytes"
TAGS = "task=tagging data=files data.kind=tagging data.tokenizer=chars"
PAIRS = "task=matching data=files data.kind=pairs data.tokenizer=bytes"
_HINT = re.compile(r"(?<![\w.])'?(?:data|task|loss)(?:\.\w+)*=(?:\{[^}]*\}|[\w./\[\],-]+)'?")

_PLACEHOLDER = re.compile(r"=[A-Z]+$")  # what only the user can name


def prepared(command: list[str]) -> None:
    """Do all of a run that may complain of its data: compose, prepare, build."""
    spec = spec_of([*command, *SMALL, "trainer=cpu", "threads=1"])
    data = instantiate(spec.config["data"])
    data.splits()
    build(spec.config, data)


def followed(line: str, command: list[str]) -> list[str]:
    """Return the command with the settings that a line proposes."""
    hints = [word for found in _HINT.findall(line) for word in shlex.split(found)]
    hints = [hint.rstrip(".,") for hint in hints if not _PLACEHOLDER.search(hint)]
    hints = [*{hint.partition("=")[0]: hint for hint in reversed(hints)}.values()]  # the first way
    keys = {hint.partition("=")[0] for hint in hints}
    return [*(word for word in command if word.partition("=")[0] not in keys), *hints]


def rows(head: str, row: str) -> str:
    return head + "".join(
        row.format(i=i, y=i % 2, z=i % 3, c=chr(0x4E00 + i)) + "\n" for i in range(40)
    )


CASES = {
    "a name that is nearly there": (
        f"{CLASSES} data.columns.text=txt",
        "t.csv",
        rows("text,label\n", "cat {i},{y}"),
    ),
    "no header": (CLASSES, "t.tsv", rows("", "cat {i}\t{y}")),
    "pairs without a header": (PAIRS, "t.txt", rows("", "how {i}\tway {i}\t{y}")),
    "a text a line": ("data=files data.tokenizer=bytes", "t.txt", rows("", "line {i} of words")),
    "a scheme": (
        f"{TAGS} task.scheme=sbie",
        "t.txt",
        rows("", "a B-X\nb M-X\nc E-X\nd O\n{c} O\n"),
    ),
    "a constraint": (
        f"{TAGS} loss.constraints=bio",
        "t.txt",
        rows("", "a B-X\nb M-X\nc E-X\nd O\n{c} O\n"),
    ),
    "bytes for characters": (
        "task=tagging data=files data.kind=tagging data.tokenizer=bytes",
        "t.txt",
        rows("", "王 B-X\n小 O\n{c} O\n"),
    ),
    "bytes for words": (
        "task=tagging data=files data.kind=tagging data.tokenizer=bytes",
        "t.txt",
        rows("", "Ann B-X\nsaw O\na{i} O\n"),
    ),
    "classes of pairs without a header": (CLASSES, "t.txt", rows("", "how {i}\tway {i}\t{y}")),
    "numbers as tags": (
        TAGS,
        "t.jsonl",
        rows("", '{{"tokens": ["a", "b", "{c}"], "tags": [1, 2, 0]}}'),
    ),
    "a long target": (
        "task=seq2seq data=files data.kind=seq2seq data.tokenizer=bytes data.block_size=16",
        "t.tsv",
        rows("text\tother\n", "a{i}\tan answer of some length {i}"),
    ),
    "several labels": (
        CLASSES,
        "t.jsonl",
        rows("", '{{"text": "cat {i}", "label": ["{y}", "z{z}"]}}'),
    ),
    "grades of pairs": (PAIRS, "t.tsv", rows("text\tother\tlabel\n", "a{i}\tb\t{z}")),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hint_works(in_tmp: Path, case: str) -> None:
    command, name, content = CASES[case]
    Path(name).write_text(content)
    typed = [*command.split(), f"data.train={name}"]
    with pytest.raises(UserError) as caught:
        prepared(typed)
    better = followed(str(caught.value), typed)
    assert better != typed, caught.value
    prepared(better)
