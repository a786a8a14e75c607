"""What all texts have in common: documents are tokenised, laid out in rows, and kept on disk."""

import functools
import itertools
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from suexp.contents import content_hash
from suexp.data.base import Data
from suexp.data.cache import cached
from suexp.data.document import Document, capped
from suexp.data.layout import Layout, layout_of
from suexp.errors import UserError, at_least

if TYPE_CHECKING:
    from suexp.data.tokenizer import Tokenizer

TRAINED = ("bpe", "chars", "words")  # on the training split
OF_A_FILE = ("wordpiece", "sentencepiece", "cpm")  # those that come with a checkpoint
TOKENIZERS = ("bytes", *TRAINED, *OF_A_FILE)
PEEKED = 200  # documents by which a tokenizer is chosen
HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


class Text(Data):
    r"""Documents as rows of token numbers, in the layout that their ``kind`` asks for.

    ``lm``, for language models: blocks of ``block_size + 1`` tokens that overlap by one, so that
    each token is predicted once (see `suexp.data.packing`). The other kinds have one document a
    row, padded in the batch (see `suexp.data.layout`).

    An option gives the documents of each split and says what they depend on.

    Args:
        tokenizer: ``bpe``, trained on the training split, ``bytes``, ``wordpiece``, BERT's,
            ``chars`` or ``words``, the characters of the training split or what it has between
            blanks, ``sentencepiece``, or ``cpm``, those pieces with CPM's blanks and line ends
            (`suexp.data.pieces`).
        vocab_size: tokens of the BPE, the 3 special ones included, the most characters or words,
            one unknown and 3 special ones included; the bytes always have 259.
        block_size: tokens a row predicts, or the most tokens of a single text.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of the documents held out, where no validation split is given.
        max_bytes: the most training text, in bytes of UTF-8; null: all. The validation split stays
            whole, so that losses compare.
        truncate: cut single texts that are longer than block_size; false: refuse them.
        vocab: the vocab.txt of wordpiece, the model of sentencepiece, or a checkpoint's folder.
        reserved: further special tokens, to which a task gives a meaning; they come last.
        begin: a single text begins with a token of its own, where its tokenizer gives it none.

    Raises:
        ValueError: a value out of range.
    """

    kind: str = "lm"
    split_names: tuple[str, ...] = ("train", "validation")

    def __init__(
        self,
        *,
        tokenizer: Literal[
            "auto", "bpe", "bytes", "wordpiece", "chars", "words", "sentencepiece", "cpm"
        ],
        vocab_size: int,
        block_size: int,
        batch_size: int,
        eval_batch_size: int,
        val_fraction: float,
        max_bytes: int | None,
        truncate: bool = True,
        vocab: str | None = None,
        reserved: int = 0,
        begin: bool = False,
    ) -> None:
        if tokenizer == "wordpiece" and vocab is None:
            raise ValueError("data.tokenizer=wordpiece needs data.vocab, a checkpoint's vocab.txt")
        if tokenizer in ("sentencepiece", "cpm") and vocab is None:
            raise ValueError(f"data.tokenizer={tokenizer} needs data.vocab, a checkpoint's model")
        if tokenizer in ("auto", "bpe") and vocab_size < 259:
            raise ValueError(f"data.vocab_size {vocab_size}: the BPE needs at least 259 tokens")
        if tokenizer in ("chars", "words") and vocab_size < 5:
            units = "characters" if tokenizer == "chars" else "words"
            raise ValueError(f"data.vocab_size {vocab_size}: {units} need at least 5 tokens")
        at_least(1, "data", block_size=block_size, batch_size=batch_size)
        at_least(1, "data", eval_batch_size=eval_batch_size)
        at_least(0, "data", reserved=reserved)
        at_least(1, "data", most=2**63, max_bytes=max_bytes)  # a file may be larger than 2 GiB
        if not 0 < val_fraction < 1:
            raise ValueError(f"data.val_fraction must be between 0 and 1, not {val_fraction}")
        self.tokenizer = one_of("tokenizer", tokenizer, ("auto", *TOKENIZERS))
        self.vocab_size, self.block_size = vocab_size, block_size
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.val_fraction, self.max_bytes, self.truncate = val_fraction, max_bytes, truncate
        self.vocab, self.reserved, self.begin = vocab, reserved, begin

    def documents(self, split: str) -> Iterable[Document]:
        """Return the split's documents, the same in the same order every time."""
        raise NotImplementedError

    def tokenizer_documents(self) -> Iterable[Document]:
        """Return what the BPE is trained on."""
        return self.documents("train")

    def source(self) -> Any:
        """Return what the documents depend on, as JSON; cheap."""
        raise NotImplementedError

    def reads(self) -> list[Path]:
        """Return the vocabulary of a checkpoint; options add the files of their documents."""
        if self.tokenizer not in OF_A_FILE or self.vocab is None:
            return []
        from suexp.data.pieces import piece_file
        from suexp.data.wordpiece import vocab_file

        return [(vocab_file if self.tokenizer == "wordpiece" else piece_file)(self.vocab)]

    def depends_on(self) -> Any:
        """Return the source, and the settings that shape the rows."""
        facts = {
            "source": self.source(),
            "kind": self.kind,
            "tokenizer": self.tokenizer,
            "block_size": self.block_size,
            "val_fraction": self.val_fraction,
            "max_bytes": self.max_bytes,
        }
        if self.kind != "lm":  # of packed text nothing is cut
            facts["truncate"] = self.truncate
        if self.reserved or self.begin:
            facts["special"] = [self.reserved, self.begin]
        if self.tokenizer in ("auto", *TRAINED):
            facts["vocab_size"] = self.vocab_size
        if self.tokenizer in ("auto", "bpe"):
            facts["library"] = version("tokenizers")
        if self.tokenizer == "wordpiece" and self.vocab is not None:
            from suexp.data.wordpiece import ignores_case, vocab_file

            file = vocab_file(self.vocab)
            facts["vocab"] = [content_hash(file), ignores_case(file)]
        if self.tokenizer in ("sentencepiece", "cpm"):
            facts["vocab"] = [content_hash(file) for file in Text.reads(self)]
        return facts

    def splits(self) -> dict[str, Any]:
        """Return the `datasets.Dataset` of each split, prepared on first use."""
        from suexp.data.rows import open_rows

        folder = self._folder
        return {
            name: open_rows(folder / f"{name}.arrow", f"{folder.name}-{name}")
            for name in self.split_names
        }

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch of these rows, as tensors of int64 and bool."""
        return self.layout.collate(rows, self.tokenizer_)

    @property
    def sizes(self) -> dict[str, int]:
        """``vocab_size``, and what the layout adds: ``num_classes`` of labelled texts."""
        return {"vocab_size": self.tokenizer_.vocab_size} | self.layout.sizes(self.facts)

    @property
    def chosen_tokenizer(self) -> str:
        """What makes the tokens: as set, or as the first training texts wanted it."""
        return self.facts["tokenizer"] if self.tokenizer == "auto" else self.tokenizer

    def _wanted_tokenizer(self) -> str:
        """Return what ``auto`` means, and say so where it is not ``bpe``.

        ``chars`` where most letters are Chinese or Japanese or where single characters have tags,
        ``words`` where words have, else ``bpe``.
        """
        if self.tokenizer != "auto":
            return self.tokenizer
        first = list(itertools.islice(self.tokenizer_documents(), PEEKED))
        letters = [letter for doc in first for text in doc.texts for letter in text[:1000]]
        han = sum(HAN.match(letter) is not None for letter in letters)
        if self.kind == "tagging" and any(len(u) > 1 for doc in first for u in doc.units or ()):
            found, units = "words", "word"
        elif self.kind == "tagging" or 2 * han > sum(letter.isalpha() for letter in letters):
            found, units = "chars", "character"
        else:
            return "bpe"
        warnings.warn(
            f"data.tokenizer={found}, a token a {units}, for what the first {PEEKED} training rows "
            "hold; set it to choose another",
            stacklevel=2,
        )
        return found

    @functools.cached_property
    def layout(self) -> Layout:
        """How documents become rows."""
        return layout_of(self.kind, self.block_size, self.truncate)

    @functools.cached_property
    def tokenizer_(self) -> "Tokenizer":
        """The tokenizer, trained on first use."""
        if self.tokenizer == "bytes":
            return self._open_tokenizer("bytes", None)
        return self._open_tokenizer(self.chosen_tokenizer, self._folder)

    def _open_tokenizer(self, kind: str, folder: Path | None) -> "Tokenizer":
        from suexp.data.characters import CharacterTokenizer
        from suexp.data.pieces import CPMTokenizer, SentencePieceTokenizer
        from suexp.data.tokenizer import BPETokenizer, ByteTokenizer
        from suexp.data.wordpiece import WordPieceTokenizer
        from suexp.data.words import WordTokenizer

        kinds: dict[str, Callable[[Path], Tokenizer]] = {
            "bpe": BPETokenizer,
            "chars": CharacterTokenizer,
            "words": WordTokenizer,
            "wordpiece": WordPieceTokenizer,
            "sentencepiece": SentencePieceTokenizer,
            "cpm": CPMTokenizer,
        }
        path = None if folder is None else folder / "tokenizer.json"
        found = ByteTokenizer() if path is None else kinds[kind](path)
        found.reserve(self.reserved, self.begin)
        return found

    def _make_tokenizer(self, kind: str, path: Path) -> None:
        from suexp.data.characters import CharacterTokenizer
        from suexp.data.pieces import SentencePieceTokenizer
        from suexp.data.tokenizer import BPETokenizer
        from suexp.data.wordpiece import WordPieceTokenizer
        from suexp.data.words import WordTokenizer

        if kind in TRAINED:
            documents = capped(self.tokenizer_documents(), self.max_bytes)
            texts = (text for doc in documents for text in doc.texts)
            train: dict[str, Callable[[Iterable[str], int, Path], None]] = {
                "bpe": BPETokenizer.train,
                "chars": CharacterTokenizer.train,
                "words": WordTokenizer.train,
            }
            train[kind](texts, self.vocab_size, path)
        elif kind == "wordpiece":
            assert self.vocab is not None
            WordPieceTokenizer.build(self.vocab, path)
        elif kind in OF_A_FILE:
            assert self.vocab is not None
            SentencePieceTokenizer.build(self.vocab, path)

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """What was counted on preparation: documents, rows, tokens and bytes of each split."""
        return json.loads((self._folder / "facts.json").read_text(encoding="utf-8"))

    @property
    def label_names(self) -> list[str] | list[int]:
        """The labels of the training split, sorted; a row's ``label`` is its place here."""
        return self.facts["labels"]

    def bytes_per_token(self, split: str) -> float:
        r"""Return the mean bytes of text that a predicted token stands for.

        With b of them, a loss of L nats per token is $L / (b \ln 2)$ bits per byte.
        End-of-text tokens are predicted, too, but stand for no byte.
        """
        facts = self._packed_facts()["splits"][split]
        return facts["bytes"] / facts["tokens"]

    def unigram_baseline(self) -> float:
        r"""Return the loss, in nats per token, of a model that knows only how frequent tokens are.

        $-\sum_v \frac{n^{val}_v}{N^{val}} \ln \frac{n^{train}_v + 1}{N^{train} + V}$ with counts
        $n_v$ of predicted tokens and the vocabulary's size $V$.
        """
        return self._packed_facts()["unigram"]

    def _packed_facts(self) -> dict[str, Any]:
        if self.kind != "lm":
            raise UserError(
                f"{type(self).__name__} has single texts here, not the packed blocks of a "
                "language model; use data.kind=lm, or data=pydoc"
            )
        return self.facts

    @functools.cached_property
    def _folder(self) -> Path:
        name = f"{type(self).__name__.lower()}-{self.fingerprint()[:20]}"
        return cached(name, self._prepare)

    def _prepare(self, folder: Path) -> None:
        kind = self._wanted_tokenizer()
        self._make_tokenizer(kind, folder / "tokenizer.json")
        tokenizer = self._open_tokenizer(kind, None if kind == "bytes" else folder)
        documents = {name: functools.partial(self._capped, name) for name in self.split_names}
        facts = self.layout.prepare(folder, documents, tokenizer) | {"tokenizer": kind}
        (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")

    def _capped(self, split: str) -> Iterator[Document]:
        return capped(self.documents(split), self.max_bytes if split == "train" else None)


def one_of(key: str, value: Any, known: tuple[Any, ...]) -> Any:
    """Return the value of a key with few values.

    Raises:
        ValueError: another value.
    """
    if value not in known:
        choices = ", ".join(str(item) for item in known if item is not None)
        raise ValueError(f"data.{key} is {value!r}; use one of {choices}")
    return value
