"""Pairs of short pieces of real prose that say the same, or not, with no download."""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from suexp.data import corpus
from suexp.data.document import UNKNOWN, Document, share
from suexp.data.ngram_bags import words_of
from suexp.data.text import Text, one_of
from suexp.errors import at_least

if TYPE_CHECKING:
    import numpy as np

Part = Literal["all", "plain", "secret"]


class PairsProse(Text):
    r"""Two windows of ``window`` words: b has a's words in another order, or nothing to do with a.

    Of the running Python's documentation (topics and docstrings, 3.11: 250,000 words; words are
    runs of letters, in lower case). One half of the pairs match: b is a in random order, each word
    replaced by a random one of the corpus with probability ``replace``. In the others a and b are
    two independent windows. Whole documents are held out, by a hash of their name, so that no
    window of the validation split is read in training. Batches: see `suexp.data.pairing`.

    With ``part`` a corpus is cut in two that have no document in common: ``plain``, the topics and
    a third of the modules' docstrings, and ``secret``, the docstrings of the others. A model
    that was trained on the one meets in the other words of nearly the same frequencies.

    Reference: https://kexue.fm/archives/8213, whose pairs are questions to an assistant.

    Args:
        part: of the corpus: ``all``, ``plain`` or ``secret``.
        num_train: pairs of the training split.
        num_labeled: how many of them, the first, have a label; null: all.
        num_validation: pairs of the validation split, all with a label.
        window: words of a text.
        replace: the probability that a word of a matching text is replaced.
        seed: of the pairs.
        tokenizer: ``words``, those of the training split, ``chars``, ``bpe`` or ``bytes``.
        vocab_size: the most tokens, special ones included; the bytes always have 259 and more.
        block_size: the most tokens of a row of two texts, and of each of them.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of the documents held out.
        truncate: cut texts that are longer than block_size; false: refuse them.
        reserved: special tokens beside the usual ones, 2 for the two answers of task=pair_mlm.
        begin: whether a text begins with a token of its own.

    Raises:
        ValueError: a value out of range.
        UserError: this Python comes without its standard library's source.
    """

    provides: ClassVar[set[str]] = {"text", "pairs", "unlabelled pairs if num_labeled"}
    kind = "pairs"

    def __init__(
        self,
        part: Part = "all",
        num_train: int = 20_000,
        num_labeled: int | None = None,
        num_validation: int = 1000,
        window: int = 8,
        replace: float = 0.4,
        seed: int = 0,
        tokenizer: Literal["words", "chars", "bpe", "bytes"] = "words",
        vocab_size: int = 4096,
        block_size: int = 35,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        val_fraction: float = 0.15,
        truncate: bool = True,
        reserved: int = 2,
        begin: bool = True,
    ) -> None:
        at_least(1, "data", num_train=num_train, num_validation=num_validation, window=window)
        at_least(0, "data", num_labeled=num_labeled, seed=seed)
        if not 0 <= replace <= 1:
            raise ValueError(f"data.replace must lie in [0, 1], not {replace}")
        super().__init__(
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            block_size=block_size,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            val_fraction=val_fraction,
            max_bytes=None,
            truncate=truncate,
            reserved=reserved,
            begin=begin,
        )
        self.part = one_of("part", part, ("all", "plain", "secret"))
        self.num_train, self.num_labeled = num_train, num_labeled
        self.num_validation, self.window = num_validation, window
        self.replace, self.seed = replace, seed

    def source(self) -> Any:
        """Return the standard library's version, and what is made of it."""
        own = ("part", "num_train", "num_labeled", "num_validation", "window", "replace", "seed")
        return [corpus.key(), *(getattr(self, name) for name in own)]

    def tokenizer_documents(self) -> Iterator[Document]:
        """Return the training texts themselves, whatever the number of pairs."""
        return (Document(" ".join(words), " ".join(words)) for words in self._texts("train"))

    def documents(self, split: str) -> Iterator[Document]:
        """Yield the pairs of the split, the labelled ones first."""
        import numpy as np

        generator = np.random.default_rng([self.seed, split == "train"])
        texts = self._texts(split)
        words = np.array([word for text in texts for word in text])
        lengths = np.array([len(text) for text in texts])
        firsts = np.cumsum(lengths) - lengths
        starts = np.concatenate(
            [
                first + np.arange(n - self.window + 1)
                for first, n in zip(firsts, lengths, strict=True)
            ]
        )
        count = self.num_train if split == "train" else self.num_validation
        labelled = count if split != "train" or self.num_labeled is None else self.num_labeled
        match, a, b = self._drawn(words, starts, count, generator)
        for row in range(count):
            yield Document(
                f"{split}/{row}",
                " ".join(a[row]),
                int(match[row]) if row < labelled else UNKNOWN,
                f"pair {row} of the {split} split",
                " ".join(b[row]),
            )

    def _drawn(self, words: Any, starts: Any, count: int, generator: "np.random.Generator") -> Any:
        """Return which pairs match (count,), and the words of both texts (count, window)."""
        import numpy as np

        places = starts[generator.integers(len(starts), size=(2, count, 1))]
        a, other = words[places + np.arange(self.window)]
        b = generator.permuted(a, axis=1)
        random = words[generator.integers(len(words), size=b.shape)]
        b = np.where(generator.random(b.shape) < self.replace, random, b)
        match = generator.random(count) < 0.5
        return match, a, np.where(match[:, None], b, other)

    def _texts(self, split: str) -> list[list[str]]:
        """Return the words of the split's documents that are long enough for a window."""
        found = []
        for name, words in _documents().items():
            plain = name.startswith("topics/") or share(name, "part") < 1 / 3
            held_out = share(name) < self.val_fraction
            if (
                len(words) >= self.window
                and held_out == (split == "validation")
                and (self.part == "all" or plain == (self.part == "plain"))
            ):
                found.append(words)
        return found


@functools.cache
def _documents() -> dict[str, list[str]]:
    return {name: words_of(text) for name, text in corpus.documentation().items()}
