"""Where a model is not what a checkpoint wants, and the line that says so."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from suexp.transform._hub_config import Asked
from suexp.transform._settings import plain

# All settings that there are; more come of fields that nobody knows.
MOST_TOLD = 20


@dataclass(frozen=True)
class Difference:
    """What a checkpoint wants of a setting, and what the model has."""

    asked: Asked
    found: Any

    @property
    def names(self) -> set[str]:
        """The names by which it can be accepted."""
        return {self.asked.field, self.asked.key} - {""}

    @property
    def name(self) -> str:
        """The one to write."""
        return self.asked.key or self.asked.field


def differences(wanted: Iterable[Asked], found: Mapping[str, Any]) -> Iterator[Difference]:
    """Give what differs; settings that play no part in the model are passed over."""
    for asked in wanted:
        if asked.key == "position.max_length" and "position.base_length" in found:
            asked = replace(asked, key="position.base_length")  # a table that is read whole
        if not asked.key:
            yield Difference(asked, None)
        elif asked.key in found and not _fits(asked, found[asked.key]):
            yield Difference(asked, found[asked.key])


def _fits(asked: Asked, value: Any) -> bool:
    if asked.key == "position.max_length":  # of a longer table the first are taken
        return isinstance(asked.said, int) and value <= asked.said
    return value in asked.right


def refusal(folder: Path, kind: str, found: list[Difference], acceptable: bool) -> str:
    """Return one line: what differs, what to set, and how to have it so where that is possible."""
    told = [_told(kind, item) for item in found[:MOST_TOLD]]
    more = f"; and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    line = f"{folder} is not what the model is: {'; '.join(told)}{more}"
    if fixes := [fix for item in found if (fix := _fix(folder, item.asked))]:
        line += f"; set {' '.join(dict.fromkeys(fixes))}"
    names = list(dict.fromkeys(item.name for item in found))
    if acceptable and all(re.fullmatch(r"[\w.]{1,60}", name) for name in names) and not more:
        line += f"; if it is meant, transform.differs=[{','.join(names)}]"
    return line


def _told(kind: str, difference: Difference) -> str:
    asked, ours = difference.asked, short(difference.found)
    if asked.key == "data.vocab":
        return f"vocab_size is {short(asked.said)}, the data's vocabulary {ours}"
    if not asked.field:
        return f"{kind} has {asked.key}={plain(asked.right[0])}, the model {ours}"
    if not asked.key:
        return f"{short(asked.field)} is {short(asked.said)}, which no setting does"
    return f"{asked.field} is {short(asked.said)}, {asked.key} {ours}"


def _fix(folder: Path, asked: Asked) -> str | None:
    if asked.key == "data.vocab":
        has_vocab = (folder / "vocab.txt").is_file()
        return f"data.tokenizer=wordpiece data.vocab={folder}" if has_vocab else None
    return f"{asked.key}={plain(asked.right[0])}" if asked.key and asked.right else None


def short(value: Any) -> str:
    """Return a value as one line shows it, however long it is."""
    text = " ".join(plain(value).split())
    return text if len(text) <= 60 else f"{text[:60]}..."
