"""One token a character, with the characters that the training text has."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from suexp.data.tokenizer import Tokenizer


class CharacterTokenizer(Tokenizer):
    """One token a character of Unicode, the commonest first, and one for all that are unknown.

    A character that the training text has only once is unknown there too, so that the token for
    unknown ones is trained.

    Reference: https://www.unicode.org/versions/latest/core-spec/chapter-3/.

    Attributes:
        unknown_id: the token of other characters, the last of the ordinary ones.
    """

    def __init__(self, path: Path) -> None:
        characters = json.loads(path.read_text(encoding="utf-8"))
        super().__init__(len(characters) + 1)
        self.unknown_id = len(characters)
        self._ids = {character: i for i, character in enumerate(characters)}
        self._bytes = [*(c.encode() for c in characters), "\ufffd".encode(), b"", b"", b""]

    @staticmethod
    def units(text: str) -> Sequence[str]:
        """Return what is a token each."""
        return text

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, path: Path) -> None:
        """Learn at most ``vocab_size`` tokens, the unknown and the special ones included."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(cls.units(text))
        common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        kept = [character for character, count in common if count > 1][: vocab_size - 4]
        path.write_text(json.dumps(kept), encoding="utf-8")

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return each text's characters."""
        ids, unknown = self._ids, self.unknown_id
        return [
            np.array([ids.get(unit, unknown) for unit in self.units(text)], dtype=np.int32)
            for text in texts
        ]
