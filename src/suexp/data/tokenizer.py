"""From text to token numbers and back, without loss: bytes, or byte-level BPE."""

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
# More text than this hardly changes the merges.
TRAINING_BYTES = 64 * 2**20


class Tokenizer:
    """``size`` ordinary tokens, then three special ones which no text can contain.

    Attributes:
        size: number of ordinary tokens.
        pad_id: fills short texts up.
        eot_id: ends each document of a packed stream.
        mask_id: stands for a hidden token.
        vocab_size: number of all tokens, ``size + 3`` and those that are reserved.
        reserved: further tokens that no text contains, to which a task gives a meaning.
        unknown_id: the token of all that has none of its own; None: everything has.
        begin: tokens that stand before a single text, one that is not packed with others.
        end: tokens that stand after it.
    """

    begin: tuple[int, ...] = ()
    end: tuple[int, ...] = ()
    reserved: tuple[int, ...] = ()
    unknown_id: int | None = None

    def __init__(self, size: int) -> None:
        self.size = size
        self.pad_id, self.eot_id, self.mask_id = size, size + 1, size + 2
        self.vocab_size = size + 3
        self._bytes: list[bytes] = []

    def reserve(self, count: int, begin: bool) -> None:
        """Add tokens that no text contains, once, after all others.

        Args:
            count: how many ``reserved`` has.
            begin: whether a text begins with one more, as BERT's with ``[CLS]``, where it begins
                with none.
        """
        first = self.vocab_size
        self.reserved = tuple(range(first, first + count))
        if begin and not self.begin:
            self.begin = (first + count,)
            count += 1
        self.vocab_size += count
        self._bytes = [*self.token_bytes, *([b""] * count)]
        self.__dict__.pop("joints", None)

    @property
    def special(self) -> frozenset[int]:
        """All tokens that no text contains."""
        framing = {self.pad_id, self.eot_id, self.mask_id, *self.begin, *self.end}
        return frozenset(framing.union(self.reserved))

    @property
    def ordinary(self) -> NDArray[np.int64]:
        """All tokens of which texts are made, sorted, but for the unknown one."""
        others = {*self.special, *(() if self.unknown_id is None else (self.unknown_id,))}
        return np.setdiff1d(np.arange(self.vocab_size), sorted(others))

    def encode(self, text: str) -> list[int]:
        """Return the text's tokens."""
        return self.encode_batch([text])[0].tolist()

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return each text's tokens."""
        raise NotImplementedError

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text; special tokens are skipped, and broken UTF-8 shows as U+FFFD."""
        return b"".join(self.token_bytes[i] for i in ids).decode(errors="replace")

    @property
    def token_bytes(self) -> list[bytes]:
        """The bytes that each token stands for; none for the special ones."""
        return self._bytes

    @functools.cached_property
    def joints(self) -> tuple[Flags, Flags, Flags]:
        """How tokens make words, for each token: it begins so, it ends so, it never begins a word.

        A token that begins with a letter or digit of ASCII goes on with the word of one that ends
        with such; one that begins inside a character does so whatever stands before it. Any other
        character is a word of its own, with the blanks before it.
        """
        letters = [
            [part.isalnum() or part == b"_" for part in parts]
            for parts in (
                [one[:1] for one in self.token_bytes],
                [one[-1:] for one in self.token_bytes],
            )
        ]
        inside = [bool(one) and 0x80 <= one[0] < 0xC0 for one in self.token_bytes]
        return np.array(letters[0]), np.array(letters[1]), np.array(inside)


class ByteTokenizer(Tokenizer):
    """One token a byte of UTF-8."""

    def __init__(self) -> None:
        super().__init__(256)
        self._bytes = [bytes([i]) for i in range(256)] + [b""] * 3

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return each text's bytes."""
        return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) for text in texts]


class BPETokenizer(Tokenizer):
    """Byte-level byte-pair encoding: the commonest neighbours are merged until the table is full.

    Every byte is a token of its own, so that any text can be written. Two trainings on the same
    text give the same table.

    Reference: Sennrich et al., Neural Machine Translation of Rare Words with Subword Units,
    arXiv:1508.07909.
    """

    def __init__(self, path: Path) -> None:
        tokenizers = library()
        self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(path))
        super().__init__(self._tokenizer.get_vocab_size())
        byte_of = _byte_of_character()
        tokens = (self._tokenizer.id_to_token(i) for i in range(self.size))
        self._bytes = [bytes(byte_of[c] for c in token) for token in tokens] + [b""] * 3

    @staticmethod
    def train(texts: Iterable[str], vocab_size: int, path: Path) -> None:
        """Learn a table of at most ``vocab_size`` tokens, special ones included, and save it."""
        tokenizers = library()
        alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=vocab_size - 3, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(_first(texts, TRAINING_BYTES), trainer)
        tokenizer.save(str(path))

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return each text's tokens."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]


def library() -> Any:
    """Return the library `tokenizers`, with one thread."""
    # With threads of its own the library warns at every later fork; the texts here are small.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import tokenizers

    return tokenizers


def _first(texts: Iterable[str], max_bytes: int) -> Iterator[str]:
    for text in texts:
        if max_bytes <= 0:
            return
        max_bytes -= len(text)
        yield text


def _byte_of_character() -> dict[str, int]:
    """Return the inverse of GPT-2's map from bytes to printable characters."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + i): byte for i, byte in enumerate(others)
    }
