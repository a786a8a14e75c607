"""Texts whose words are secret numbers."""

from typing import TYPE_CHECKING, Any, ClassVar

from suexp.alter.base import Alter
from suexp.errors import UserError, at_least

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from suexp.data.base import Data
    from suexp.data.sealed import Sealed
    from suexp.data.tokenizer import Tokenizer


class Anonymize(Alter):
    r"""$x_i \leftarrow \rho(\pi(x_i))$: $\pi$ a secret permutation, $\rho$ the rank by frequency.

    Whoever publishes the data replaces each ordinary token by the number that a random permutation
    gives it, and whoever reads them numbers these by their frequency in all splits, labelled or
    not, ties by the secret number: the first ordinary id is the most frequent token, and nothing
    else is known of it. Where frequencies are distinct the outcome does not depend on the seed.
    Rows keep their shape, whichever columns hold tokens: (n,) of one text, or those of a pair.
    Tokens that occur fewer than ``min_count`` times become the tokenizer's unknown one. Special
    tokens stay what they are, and nothing turns a number back into text: the tokenizer is
    `suexp.data.sealed.Sealed`.

    Frequencies of the validation and test rows are looked at, as in the post's competition: that is
    transductive.

    Reference: https://kexue.fm/archives/8213; the competition's data, GAIIC 2021, track 3,
    https://tianchi.aliyun.com/competition/entrance/531851.

    Args:
        seed: of the permutation.
        min_count: the fewest times that a token occurs which has a number of its own; 5 in the
            post, 1: all have.

    Raises:
        ValueError: a min_count below 1.
        UserError: rows without tokens, or rare ones where the tokenizer has no unknown token.

    Example:
        >>> import numpy as np
        >>> from suexp.alter.anonymize import renumbered
        >>> counts, tokens = np.array([5, 9, 0, 2]), np.array([0, 1, 2])
        >>> renumbered(counts, tokens, np.random.default_rng(0)).tolist()
        [1, 0, 2, 3]
    """

    provides: ClassVar[set[str]] = {"anonymous"}
    needs: ClassVar[dict[str, str]] = {"text": "it renumbers tokens; use data=pairs_prose"}
    refuses: ClassVar[dict[str, str]] = {
        "generation": "anonymised data has no text that could be written; use task=masked_lm or "
        "task=pair_mlm, or leave alter out"
    }

    def __init__(self, seed: int = 0, min_count: int = 5) -> None:
        at_least(1, "alter.anonymize", min_count=min_count)
        self.seed, self.min_count = seed, min_count
        self._numbers: Any = None

    def apply_all(
        self,
        tables: "Mapping[str, pa.Table]",
        generators: "Callable[[str], np.random.Generator]",
        data: "Data",
    ) -> "dict[str, pa.Table]":
        """Renumber the tokens of all splits.

        Raises:
            UserError: rows without tokens, or rare ones where the tokenizer has no unknown token.
        """
        import numpy as np

        from suexp.data.frequencies import counted

        tokenizer = getattr(data, "tokenizer_", None)
        if tokenizer is None:
            raise UserError("alter=anonymize: the rows hold no tokens; use data=pairs_prose, say")
        counts = np.sum([counted(t, tokenizer.vocab_size) for t in tables.values()], axis=0)
        tokens = tokenizer.ordinary
        self._numbers = renumbered(counts, tokens, generators("words"))
        if self.min_count > 1:
            if tokenizer.unknown_id is None:
                raise UserError(
                    "alter.anonymize.min_count: rare tokens become the unknown one, which this "
                    "tokenizer has not; set data.tokenizer=words or chars, or "
                    "alter.anonymize.min_count=1"
                )
            self._numbers[tokens[counts[tokens] < self.min_count]] = tokenizer.unknown_id
        return {split: _renamed(table, self._numbers) for split, table in tables.items()}

    def tokenizer(self, tokenizer: "Tokenizer") -> "Sealed":
        """Return the tokenizer, which tells its numbers but no text."""
        from suexp.data.sealed import Sealed

        return Sealed(tokenizer, self._numbers)


def renumbered(
    counts: "NDArray[Any]", tokens: "NDArray[Any]", generator: "np.random.Generator"
) -> "NDArray[Any]":
    """Return the new number of each token: by falling counts, ties by a random permutation.

    Args:
        counts: how often each token occurs, (V,).
        tokens: those that are renumbered among each other, sorted; others keep their number.
        generator: of the permutation.
    """
    import numpy as np

    secret = tokens[generator.permutation(len(tokens))]
    order = secret[np.argsort(-counts[secret], kind="stable")]
    numbers = np.arange(len(counts))
    numbers[order] = tokens
    return numbers


def _renamed(table: "pa.Table", numbers: "NDArray[Any]") -> "pa.Table":
    """Return a table whose tokens have other numbers; all else is a view."""
    import pyarrow as pa

    from suexp.data.frequencies import token_columns

    for name in token_columns(table):
        chunks = [_mapped(chunk, numbers) for chunk in table[name].chunks]
        table = table.set_column(table.column_names.index(name), name, pa.chunked_array(chunks))
    return table


def _mapped(chunk: Any, numbers: "NDArray[Any]") -> Any:
    import numpy as np
    import pyarrow as pa

    values = chunk.flatten().to_numpy(zero_copy_only=False)  # those of a slice alone
    found = pa.array(numbers[values].astype(values.dtype))
    if pa.types.is_fixed_size_list(chunk.type):
        return pa.FixedSizeListArray.from_arrays(found, chunk.type.list_size)
    lengths = chunk.value_lengths().to_numpy(zero_copy_only=False)
    offsets = np.cumsum([0, *lengths], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), found)
