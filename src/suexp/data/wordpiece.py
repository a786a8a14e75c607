"""BERT's tokens, from the vocab.txt of a checkpoint."""

import functools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from suexp.code.local_files import local_path
from suexp.data import bounds
from suexp.data.lines import lines_of, too_long
from suexp.data.tokenizer import Flags, Tokenizer, library
from suexp.errors import UserError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class WordPieceTokenizer(Tokenizer):
    """Words in the longest pieces that the vocabulary has; ``##`` marks those inside a word.

    Chinese characters are words of their own. A single text stands between ``[CLS]`` and ``[SEP]``.
    Ids equal those of `transformers.BertTokenizer`.

    Reference: Wu et al., Google's Neural Machine Translation System, arXiv:1609.08144; Devlin et
    al., BERT, arXiv:1810.04805.
    """

    def __init__(self, path: Path) -> None:
        self._tokenizer = library().Tokenizer.from_file(str(path))
        self.vocab_size = self.size = self._tokenizer.get_vocab_size()
        ids = {name: self._tokenizer.token_to_id(name) for name in SPECIAL}
        self.pad_id, self.eot_id, self.mask_id = ids["[PAD]"], ids["[SEP]"], ids["[MASK]"]
        self.begin, self.end = (ids["[CLS]"],), (ids["[SEP]"],)
        self.unknown_id = ids["[UNK]"]
        names = [self._tokenizer.id_to_token(i) for i in range(self.size)]
        self._bytes = [
            b"" if name in SPECIAL else name.removeprefix("##").encode() for name in names
        ]
        self._inside = [name.startswith("##") for name in names]

    @staticmethod
    def build(vocab: str, path: Path) -> None:
        """Write the tokenizer of a ``vocab.txt``, or of the folder that holds one.

        Whether capitals count is read from the ``tokenizer_config.json`` beside it; without one
        they do not.

        Raises:
            UserError: a file that is missing or no vocabulary of BERT.
        """
        file = vocab_file(vocab)
        if file.stat().st_size > bounds.LINE:
            raise too_long(str(file), "vocabulary")
        tokens = [line.rstrip("\r\n") for _, line in lines_of(file)]
        if missing := [name for name in SPECIAL if name not in tokens]:
            raise UserError(f"{file} is no vocabulary of BERT: it has no {missing[0]}")
        if len({*tokens}) < len(tokens):
            token = Counter(tokens).most_common(1)[0][0]
            raise UserError(f"{file} is no vocabulary of BERT: {token!r} stands there twice")
        tokenizers = library()
        table = {token: number for number, token in enumerate(tokens)}
        model = tokenizers.models.WordPiece(table, unk_token="[UNK]")
        tokenizer = tokenizers.Tokenizer(model)
        tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=ignores_case(file))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = tokenizers.decoders.WordPiece()
        tokenizer.save(str(path))

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return each text's pieces."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

    @functools.cached_property
    def joints(self) -> tuple[Flags, Flags, Flags]:
        """As of `Tokenizer`: a piece with the mark goes on with a word, any other begins one."""
        inside = np.zeros(self.vocab_size, dtype=np.bool_)
        inside[: len(self._inside)] = self._inside
        nothing = np.zeros_like(inside)
        return nothing, nothing, inside

    def decode(self, ids: Iterable[int]) -> str:
        """Return the words, with blanks between and without the special tokens."""
        text: str = self._tokenizer.decode([i for i in ids if i not in self.special])
        return text


def vocab_file(vocab: str) -> Path:
    """Return the ``vocab.txt`` that a path means.

    Raises:
        UserError: there is none.
    """
    path = local_path("data.vocab", vocab)
    file = path / "vocab.txt" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"data.vocab: no file {file}; name a checkpoint's vocab.txt")
    return file


def ignores_case(file: Path) -> bool:
    """Tell whether the checkpoint of a vocabulary has no capitals."""
    try:
        settings = (file.parent / "tokenizer_config.json").read_text(encoding="utf-8")
        return bool(json.loads(settings).get("do_lower_case", True))
    except (OSError, ValueError):
        return True
