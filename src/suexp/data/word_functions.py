"""Learning from examples in the text itself, with no download: words and functions of them."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal

from suexp.data import corpus
from suexp.data.document import Document, share
from suexp.data.examples import Example, Skill
from suexp.data.text import Text
from suexp.errors import at_least

FUNCTIONS: dict[str, Callable[[str], str]] = {
    "first": lambda word: word[0],
    "second": lambda word: word[1],
    "third": lambda word: word[2],
    "last": lambda word: word[-1],
    "upper": lambda word: word[0].upper(),
    "next": lambda word: chr((ord(word[0]) - ord("a") + 1) % 26 + ord("a")),
    "vowels": lambda word: str(sum(letter in "aeiou" for letter in word)),
    "last_first": lambda word: word[-1] + word[0],
}
SEPARATOR = ">"


class WordFunctions(Text):
    r"""Lines ``word>f(word)``, one function f a text: which one, only the lines before tell.

    The words are all of ``letters`` small letters in CPython's documentation (3.11: 677 of four);
    those held out by a hash stand in no training text. The functions: ``first``, ``second``,
    ``third``, ``last`` letter, ``upper``, the first as a capital, ``next``, the one that follows it
    in the alphabet (a after z), ``vowels``, their number, ``last_first``, these two letters. Each
    text draws f, then its words one by one, and ends in the middle of a line where the block does:
    ``tokens`` of a batch is (batch_size, block_size + 1), an end of text on each side.

    A model can answer only by finding f in the lines before (in-context learning); without them
    it guesses one of the functions. A task with prompts (`callback=few_shot`) takes them from the
    held-out words.

    References: https://kexue.fm/archives/7912; Brown et al., Language Models are Few-Shot Learners,
    arXiv:2005.14165; trained for it, Min et al., MetaICL, arXiv:2110.15943.

    Args:
        functions: some of the eight.
        letters: of a word, at least 3.
        num_train: texts for training.
        num_validation: texts for validation.
        tokenizer: ``bytes`` or ``chars``: each letter is a token.
        vocab_size: the most characters, an unknown one and 3 special tokens included.
        block_size: tokens that a row predicts.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of the words that is held out.
        seed: of the draws; the run's own seed does not change them.

    Raises:
        ValueError: a value out of range, or an unknown function.
        UserError: this Python comes without its standard library's source.
    """

    provides: ClassVar[set[str]] = {"text", "prompts"}
    separator: ClassVar[str] = SEPARATOR

    def __init__(
        self,
        functions: Sequence[str] = tuple(FUNCTIONS),
        letters: int = 4,
        num_train: int = 24000,
        num_validation: int = 512,
        tokenizer: Literal["bytes", "chars"] = "bytes",
        vocab_size: int = 259,
        block_size: int = 56,
        batch_size: int = 24,
        eval_batch_size: int = 128,
        val_fraction: float = 0.2,
        seed: int = 0,
    ) -> None:
        at_least(3, "data", letters=letters)
        at_least(1, "data", num_train=num_train, num_validation=num_validation)
        at_least(0, "data", seed=seed)
        if tokenizer not in ("bytes", "chars"):
            raise ValueError(f"data.tokenizer is {tokenizer!r}; use one of bytes, chars")
        if not functions:
            raise ValueError("data.functions names none")
        for name in functions:
            if name not in FUNCTIONS:
                raise ValueError(f"data.functions: {name!r} is none of {', '.join(FUNCTIONS)}")
        super().__init__(
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            block_size=block_size,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            val_fraction=val_fraction,
            max_bytes=None,
        )
        self.functions, self.letters, self.seed = list(functions), letters, seed
        self.counts = {"train": num_train, "validation": num_validation}

    def words(self, split: str) -> list[str]:
        """Return the words of a split, sorted."""
        pattern = re.compile(rf"\b[a-z]{{{self.letters}}}\b")
        texts = corpus.documentation().values()
        found = {word for text in texts for word in pattern.findall(text.lower())}
        validation = split == "validation"
        return sorted(word for word in found if (share(word) < self.val_fraction) == validation)

    def documents(self, split: str) -> Iterator[Document]:
        """Return the split's texts, of block_size - 1 letters: with an end of text, a block."""
        import numpy as np

        words, length = self.words(split), self.block_size - 1
        # All lines first, then draws of all texts at once: no word is read twice.
        lines = np.array(
            [[f"{w}{SEPARATOR}{FUNCTIONS[f](w)}\n" for w in words] for f in self.functions],
            dtype=object,
        )
        random = np.random.default_rng([self.seed, split == "validation"])
        many = length // min(len(line) for line in lines.flat) + 1
        function = random.integers(len(self.functions), size=(self.counts[split], 1))
        drawn = lines[function, random.integers(len(words), size=(self.counts[split], many))]
        for number, row in enumerate(drawn):
            yield Document(f"{split}/{number}", "".join(row)[:length])

    def skills(self) -> list[Skill]:
        """Return each function with the held-out words, as examples and as queries."""
        words = self.words("validation")
        found = []
        for name in self.functions:
            rows = [
                Example(
                    word,
                    FUNCTIONS[name](word),
                    tuple(dict.fromkeys(FUNCTIONS[other](word) for other in self.functions)),
                )
                for word in words
            ]
            found.append(Skill(name, rows, rows))
        return found

    def source(self) -> Any:
        """Return the standard library's version, names and sizes, hashed, and the arguments."""
        return [corpus.key(), self.functions, self.letters, self.counts, self.seed]
