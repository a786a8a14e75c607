"""One token a word, with the words that the training text has."""

from collections.abc import Iterable, Sequence

from suexp.data.characters import CharacterTokenizer


class WordTokenizer(CharacterTokenizer):
    """One token a word, the commonest first, and one for all that are unknown.

    Words are what stands between blanks, so that texts of numbers (of secret words, say) have one
    token a number. A word that the training text has only once is unknown there too.

    Reference: https://kexue.fm/archives/8213, whose texts are such numbers.
    """

    @staticmethod
    def units(text: str) -> Sequence[str]:
        """Return the words."""
        return text.split()

    def decode(self, ids: Iterable[int]) -> str:
        """Return the words with single blanks between them; special tokens are skipped."""
        return " ".join(word.decode() for i in ids if (word := self.token_bytes[i]))
