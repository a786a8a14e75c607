"""A trained model for texts whose words have other numbers."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from suexp.data.frequencies import frequencies, ranked
from suexp.data.sealed import Sealed
from suexp.errors import one_of
from suexp.transform._settings import unseen
from suexp.transform._vocabulary import FRESH, TABLES, special_rows
from suexp.transform.base import Transform, mismatch

if TYPE_CHECKING:
    from suexp.task.base import Task

Strategy = Literal["frequency", "random", "shuffle", "oracle", "zeros"]
SHOWN = 500  # ranks that are recorded


class TransplantEmbeddings(Transform):
    r"""$E_{child}[i_r] = E_{parent}[j_r]$, $i_r$ and $j_r$ the r-th most frequent of each.

    Everything but the vocabulary is copied; the vocabulary's rows are given to the child's tokens
    by a strategy:

    - ``frequency``: by rank, as above. Tokens are counted in all splits of both data sets; equally
      frequent ones are ranked by their number. What transfers is that frequent tokens have the
      vectors of function words, that tokens can be told apart, and the frequencies themselves.
    - ``shuffle``: the parent's rows in random order.
    - ``oracle``: those of the same words, as only the sealed data know them
      (`suexp.data.sealed.Sealed.opened`); with data that are not sealed, the same words.
    - ``random``: none, each number is drawn.
    - ``zeros``: none, all are 0.

    Rows are those of the embedding, of the output layer where it is another one, and of the bias in
    the output, which is the logarithm of how frequent words are, and belongs to them as much as
    their vectors do. A token that gets no row, of the frequency's and the oracle's those beyond the
    parent's words, is drawn from a normal distribution with the mean and the standard deviation of
    all numbers of the parent's table; the bias of such a token is drawn likewise, by ``random``
    it is 0.

    The table ``ranks`` gets the rank of the 500 most frequent words by ``frequency``, and their
    ``true_rank``, that of the same word in the parent's texts, where the sealed data tell.

    Special tokens get those of the same meaning. Reserved ones get their parent's where it has as
    many, else the vector of its unknown token, so that all of them begin alike; without one, that
    of its mask token.

    Post: https://kexue.fm/archives/8213.

    Args:
        strategy: as above.
        remap_bias: the bias is remapped, too; false: ordinary tokens keep the child's own.
        seed: of what is drawn.

    Raises:
        ValueError: an unknown strategy, no parent, one without texts, or one that does not fit.
        UserError: data without tokens.
    """

    needs: ClassVar[dict[str, str]] = {
        "parent": "it starts from another run's model and counts its words; name it with "
        "parent=['seed=1'] say",
        "text": "it gives vectors to tokens; use data=pairs_prose",
    }

    def __init__(
        self, strategy: Strategy = "frequency", remap_bias: bool = True, seed: int = 0
    ) -> None:
        one_of(get_args(Strategy), strategy=strategy)
        self.strategy, self.remap_bias, self.seed = strategy, remap_bias, seed

    def start(self, task: "Task", origin: "Task | None") -> dict[str, float] | None:
        """Change a task's model; return which share of the ordinary tokens got a parent's row.

        Raises:
            ValueError: there is no parent, or the two do not fit.
        """
        if origin is None:
            return self(None, task.model)
        if not hasattr(origin.data, "tokenizer_"):
            raise ValueError("transplant_embeddings: the parent reads no texts; use task=masked_lm")
        if complaint := unseen(origin.model, task.model):
            raise ValueError(complaint)
        rows = self.rows(task.data, origin.data)
        words = task.data.tokenizer_.ordinary  # type: ignore[attr-defined]
        self.write(origin.model, task.model, rows, words)
        if self.strategy == "frequency":
            task.record_rows("ranks", _ranks(task.data, origin.data))
        return {"transplant/copied": float((rows[words] != FRESH).mean())}

    def rows(self, data: Any, origin: Any) -> NDArray[Any]:
        """Return the parent's token whose rows each token gets, (V,); FRESH: none.

        Args:
            data: what is to be trained on.
            origin: what the parent was trained on.
        """
        ours, theirs = data.tokenizer_, origin.tokenizer_
        rows = special_rows(ours, theirs)
        new, old = ours.ordinary, theirs.ordinary
        if self.strategy == "frequency":
            new = ranked(frequencies(data), new)
            old = ranked(frequencies(origin), old)
        elif self.strategy == "shuffle":
            old = np.random.default_rng(self.seed).permutation(old)
        elif self.strategy == "oracle":
            new, old = _alike(ours, theirs)
        else:
            old = old[:0]
        count = min(len(new), len(old))
        rows[new[:count]] = old[:count]
        return rows

    @torch.no_grad()
    def write(
        self, parent: nn.Module, child: nn.Module, rows: NDArray[Any], ordinary: NDArray[Any]
    ) -> None:
        """Write the parent's state into a child with other tokens.

        Args:
            parent: the trained model.
            child: that of the new vocabulary.
            rows: the parent's token whose rows each token gets; FRESH: none.
            ordinary: the child's ordinary tokens.

        Raises:
            ValueError: the two do not fit.
        """
        state, own = dict(parent.state_dict()), child.state_dict()
        if "embedding.weight" not in state or "embedding.weight" not in own:
            raise ValueError("transplant_embeddings: no table of words; use model=transformer")
        generator = torch.Generator().manual_seed(self.seed)
        for name in TABLES:
            if name not in state or name not in own:
                continue  # one that only the other has is told below
            table = self._given(state[name], own[name], rows, generator)
            if name == "head.bias":
                if not self.remap_bias:
                    table[ordinary] = own[name][ordinary]
                elif self.strategy == "random":
                    table[ordinary] = 0
            state[name] = table
        complaint = mismatch(state, own)
        if complaint:
            raise ValueError(f"{complaint}; all but the vocabulary must be equal")
        child.load_state_dict(state)

    def _given(
        self, theirs: Tensor, own: Tensor, rows: NDArray[Any], generator: torch.Generator
    ) -> Tensor:
        """Return a table for the child's tokens."""
        rows_ = torch.from_numpy(rows)
        shape = (len(rows), *theirs.shape[1:])
        if self.strategy == "zeros":
            fresh = torch.zeros(shape)
        else:
            real = theirs.float()
            spread = real.std() if real.numel() > 1 else real.new_zeros(())
            fresh = real.mean() + spread * torch.randn(shape, generator=generator)
        given = theirs[rows_.clamp(min=0)]
        kept = (rows_ != FRESH).view(-1, *([1] * (theirs.ndim - 1)))
        return torch.where(kept, given, fresh.to(theirs)).to(own)


def _ranks(data: Any, origin: Any) -> list[dict[str, int]]:
    """Return the ranks of the most frequent words, here and in the parent's texts, where known."""
    here, there = (ranked(frequencies(x), x.tokenizer_.ordinary) for x in (data, origin))
    same = dict(zip(*(x.tolist() for x in _alike(data.tokenizer_, origin.tokenizer_)), strict=True))
    rank = {token: i + 1 for i, token in enumerate(there.tolist())}
    return [
        {"rank": i + 1, "true_rank": rank[same[token]]}
        for i, token in enumerate(here[:SHOWN].tolist())
        if token in same
    ]


def _alike(ours: Any, theirs: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the numbers of the words that both have, here and there."""
    names, others = (t.opened() if isinstance(t, Sealed) else t.token_bytes for t in (ours, theirs))
    place = {others[token]: int(token) for token in theirs.ordinary if others[token]}
    pairs = [(int(token), place[names[token]]) for token in ours.ordinary if names[token] in place]
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
