"""The tokenizer of texts that nobody may read."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suexp.data.tokenizer import Tokenizer
from suexp.errors import UserError

NOBODY = "anonymised data has no text: nobody knows which word a number is"


class Sealed(Tokenizer):
    """The numbers of another tokenizer's tokens after ordinary ones became secret numbers.

    Args:
        tokenizer: of the texts.
        numbers: (V,), the number that stands for each of its tokens; special ones keep theirs.
    """

    def __init__(self, tokenizer: Tokenizer, numbers: NDArray[Any]) -> None:
        self.size, self.vocab_size = tokenizer.size, tokenizer.vocab_size
        self.pad_id, self.eot_id = tokenizer.pad_id, tokenizer.eot_id
        self.mask_id, self.unknown_id = tokenizer.mask_id, tokenizer.unknown_id
        self.begin, self.end, self.reserved = tokenizer.begin, tokenizer.end, tokenizer.reserved
        self._sealed = (tokenizer, numbers)

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Refuse.

        Raises:
            UserError: always.
        """
        del texts
        raise UserError(NOBODY)

    def decode(self, ids: Iterable[int]) -> str:
        """Refuse.

        Raises:
            UserError: always.
        """
        del ids
        raise UserError(NOBODY)

    @property
    def token_bytes(self) -> list[bytes]:
        """Refused.

        Raises:
            UserError: always.
        """
        raise UserError(NOBODY)

    def opened(self) -> list[bytes]:
        """Return what each number stands for; for oracles alone, which tell how much is lost.

        Nothing for special tokens and for the number that all rare words share.
        """
        tokenizer, numbers = self._sealed
        found = [b""] * self.vocab_size
        for token in tokenizer.ordinary:
            if numbers[token] != self.unknown_id:
                found[numbers[token]] = tokenizer.token_bytes[token]
        return found
