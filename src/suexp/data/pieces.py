"""Pieces of SentencePiece, from the file of a checkpoint; CPM's, with the blanks that text has."""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suexp.code.local_files import local_path
from suexp.data.tokenizer import Tokenizer, library
from suexp.errors import UserError

FILES = ("tokenizer.json", "spiece.model", "sentencepiece.model", "tokenizer.model")
SPACE = "\u2581"  # SentencePiece's own mark of a blank before a word
BLANK, NEWLINE = "\u2582", "\u2583"  # CPM's
LINE_END = "<cls>"  # what CPM was trained to write at the end of a line
UNKNOWN = "\ufffd"
Encode = Callable[[list[str]], list[list[int]]]


class SentencePieceTokenizer(Tokenizer):
    r"""Pieces of a unigram model: of all cuts of a text $c$ the likeliest, $\sum_i \log p(c_i)$.

    The file is a checkpoint's ``spiece.model``, which the package `sentencepiece` reads
    (`pip install suexp[chinese]`), or a ``tokenizer.json`` whose model is Unigram. Where it has no
    ``<pad>``, ``<eod>`` or ``</s>``, ``<mask>``, these come last. It normalises texts: of several
    blanks one is left, and a line's end is a blank.

    References: Kudo, Subword Regularization, arXiv:1804.10959; Kudo and Richardson,
    SentencePiece, arXiv:1808.06226.
    """

    def __init__(self, path: Path) -> None:
        names, self._encode = _opened(path)
        super().__init__(len(names))
        ids = {name: number for number, name in enumerate(names)}
        self._ids = ids
        free = len(names)
        found = []
        for wanted in (("<pad>",), ("<eod>", "</s>", "<|endoftext|>"), ("<mask>",)):
            known = next((ids[name] for name in wanted if name in ids), None)
            found.append(free if known is None else known)
            free += known is None
        self.pad_id, self.eot_id, self.mask_id = found
        self.vocab_size = free
        self._bytes = [self.bytes_of(name) for name in names] + [b""] * (free - len(names))

    @staticmethod
    def build(vocab: str, path: Path) -> None:
        """Keep a copy of the file, which is read there.

        Raises:
            UserError: no such file, or no unigram model.
        """
        file = piece_file(vocab)
        _opened(file)
        shutil.copyfile(file, path)

    def bytes_of(self, name: str) -> bytes:
        """Return the text of a piece; none of the special ones."""
        if byte := re.fullmatch(r"<0x([0-9A-F]{2})>", name):
            return bytes([int(byte[1], 16)])
        if name == "<unk>":
            return UNKNOWN.encode()
        if re.fullmatch(r"<[^<>]+>", name):
            return b""
        return name.replace(SPACE, " ").encode()

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return each text's pieces."""
        return [np.array(ids, dtype=np.int32) for ids in self._encode(list(texts))]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text, without the blank that SentencePiece puts before it."""
        return super().decode(ids).removeprefix(" ")


class CPMTokenizer(SentencePieceTokenizer):
    r"""CPM's pieces: words cut by jieba, with blanks and line ends that are pieces of their own.

    A text is cut into words; in each, a blank becomes U+2582 and a line's end U+2583; the words,
    joined by blanks, go to SentencePiece, and the piece U+2583 becomes ``<cls>``, which the model
    therefore writes at the end of a line. Back: blanks are dropped, then both marks replaced. So
    double blanks and line ends survive, which SentencePiece alone would lose. A text that holds
    these marks itself does not come back.

    References: https://kexue.fm/archives/7912; Zhang et al., CPM, arXiv:2012.00413; jieba,
    https://github.com/fxsjy/jieba.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        missing = [f"U+{ord(mark):X}" for mark in (BLANK, NEWLINE) if mark not in self._ids]
        if missing:
            raise UserError(
                f"this vocabulary has no piece {missing[0]}, which CPM's has for a blank or a line "
                "end; use data.tokenizer=sentencepiece"
            )
        if LINE_END in self._ids:
            self._bytes[self._ids[LINE_END]] = b"\n"

    def cut(self, text: str) -> Iterable[str]:
        """Return the words, blanks and line ends of a text.

        Raises:
            UserError: jieba is not installed.
        """
        try:
            import jieba
        except ImportError as error:
            raise UserError(
                "data.tokenizer=cpm cuts words with jieba; pip install suexp[chinese]"
            ) from error
        words: Iterable[str] = jieba.cut(text)
        return words

    def bytes_of(self, name: str) -> bytes:
        """Return the text of a piece: blanks are those that the text has."""
        text = super().bytes_of(name).replace(b" ", b"")
        return text.replace(BLANK.encode(), b" ").replace(NEWLINE.encode(), b"\n")

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return each text's pieces."""
        marks = str.maketrans({" ": BLANK, "\n": NEWLINE})
        marked = [" ".join(word.translate(marks) for word in self.cut(text)) for text in texts]
        found = super().encode_batch(marked)
        if LINE_END in self._ids:
            for ids in found:
                ids[ids == self._ids[NEWLINE]] = self._ids[LINE_END]
        return found

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text."""
        return Tokenizer.decode(self, ids)


def piece_file(vocab: str) -> Path:
    """Return the file of pieces that a path means.

    Raises:
        UserError: there is none.
    """
    path = local_path("data.vocab", vocab)
    found = [path / name for name in FILES] if path.is_dir() else [path]
    file = next((file for file in found if file.is_file()), None)
    if file is None:
        raise UserError(
            f"data.vocab: no file {found[0]}; name a checkpoint's spiece.model or tokenizer.json"
        )
    return file


def _opened(path: Path) -> tuple[list[str], Encode]:
    """Return the names of all pieces, and what finds those of texts.

    Raises:
        UserError: a damaged file, another kind of model, or a package that is not installed.
    """
    with path.open("rb") as file:
        is_json = file.read(64).lstrip().startswith(b"{")
    return _of_json(path) if is_json else _of_model(path)


def _of_json(path: Path) -> tuple[list[str], Encode]:
    try:
        kind = json.loads(path.read_text(encoding="utf-8"))["model"]["type"]
        tokenizer: Any = library().Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises its own, of no class
        reason = " ".join(str(error).split())[:80]
        raise UserError(f"{path} is no tokenizer.json: {reason}") from error
    if kind != "Unigram":
        raise UserError(f"{path} holds a model of kind {kind}, not SentencePiece's Unigram")

    def encode(texts: list[str]) -> list[list[int]]:
        found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in found]

    return [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())], encode


def _of_model(path: Path) -> tuple[list[str], Encode]:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise UserError(
            f"{path} is read by sentencepiece; pip install suexp[chinese], or name a tokenizer.json"
        ) from error
    try:
        model: Any = SentencePieceProcessor(model_proto=path.read_bytes())
        size = model.get_piece_size()
    except Exception as error:  # of whatever class its C++ has
        raise UserError(f"{path} is no model of SentencePiece, or damaged") from error
    return [model.id_to_piece(i) for i in range(size)], lambda texts: model.encode(texts)
