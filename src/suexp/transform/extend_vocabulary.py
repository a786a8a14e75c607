"""A trained model with more words, each of which begins as the mean of its pieces."""

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from suexp.transform._settings import unseen
from suexp.transform._vocabulary import TABLES, special_rows
from suexp.transform.base import Transform, mismatch

if TYPE_CHECKING:
    from suexp.task.base import Task


class ExtendVocabulary(Transform):
    r"""$E_{child}[w] = \frac1m \sum_{j=1}^m E_{parent}[p_j]$, $p_1 \ldots p_m$ the pieces of w.

    The pieces are those into which the parent's tokenizer cuts the word: a token that both have is
    its own only piece and keeps its row, bit for bit, so that kept tokens have the logits that they
    had in texts of kept tokens. The output's rows, where the output is another layer, and its bias
    are treated likewise; rows of tokens that the child has not are left behind. Special tokens get
    those of the same meaning. Everything else is copied.

    A larger BPE of the same texts has all tokens of a smaller one: with it whole words come in
    the place of pieces.

    Post: https://kexue.fm/archives/8046 (its ``compound_tokens`` and ``keep_tokens``).

    Raises:
        ValueError: no parent, one without texts, or one that does not fit; tokens of which several
            have one text, as those of wordpiece.
    """

    needs: ClassVar[dict[str, str]] = {
        "parent": "it starts from another run's model; name it with parent=['seed=1'] say",
        "text": "it gives vectors to words; use data=docstring_summary",
    }

    def start(self, task: "Task", origin: "Task | None") -> dict[str, float] | None:
        """Change a task's model; return how many words are new, and how many pieces they have.

        Raises:
            ValueError: there is no parent, or the two do not fit.
        """
        if origin is None:
            return self(None, task.model)
        ours, theirs = (getattr(one.data, "tokenizer_", None) for one in (task, origin))
        if theirs is None:
            raise ValueError("extend_vocabulary: the parent reads no texts; use task=masked_lm")
        if complaint := unseen(origin.model, task.model):
            raise ValueError(complaint)
        pieces = pieces_of(ours, theirs)
        self.write(origin.model, task.model, pieces)
        new = [len(some) for some in pieces if len(some) > 1]
        mean = sum(new) / len(new) if new else 0.0
        return {"vocabulary/new": float(len(new)), "vocabulary/pieces": mean}

    @torch.no_grad()
    def write(self, parent: nn.Module, child: nn.Module, pieces: list[list[int]]) -> None:
        """Write the parent's state into a child with other tokens.

        Args:
            parent: the trained model.
            child: that of the new vocabulary.
            pieces: the parent's tokens that each token of the child's is the mean of.

        Raises:
            ValueError: the two do not fit.
        """
        state, own = dict(parent.state_dict()), child.state_dict()
        if "embedding.weight" not in state or "embedding.weight" not in own:
            raise ValueError("extend_vocabulary: no table of words; use model=transformer")
        for name in TABLES:
            if name in state and name in own:  # one that only the other has is told below
                rows = state[name]
                state[name] = torch.stack([rows[some].mean(0) for some in pieces]).to(own[name])
        complaint = mismatch(state, own)
        if complaint:
            raise ValueError(f"{complaint}; all but the vocabulary must be equal")
        child.load_state_dict(state)


def pieces_of(ours: Any, theirs: Any) -> list[list[int]]:
    """Return the tokens of another tokenizer into which it cuts each of ours.

    Args:
        ours: the child's tokenizer.
        theirs: the parent's.

    Raises:
        ValueError: several tokens have one text.
    """
    for tokenizer in (ours, theirs):
        names = [tokenizer.token_bytes[token] for token in tokenizer.ordinary]
        if len({*names}) < len(names):
            raise ValueError(
                "extend_vocabulary: several tokens have one text, inside a word and before it; use "
                "data.tokenizer=bpe"
            )
    special = special_rows(ours, theirs)
    known = {theirs.token_bytes[token]: int(token) for token in theirs.ordinary}
    unknown = theirs.mask_id if theirs.unknown_id is None else theirs.unknown_id
    found = [[int(row)] for row in special]
    for token in ours.ordinary:
        name = ours.token_bytes[token]
        if name in known:
            found[token] = [known[name]]
            continue
        try:
            found[token] = theirs.encode(name.decode())
        except UnicodeDecodeError:  # a part of a character
            found[token] = [known.get(bytes([byte]), unknown) for byte in name]
    return [some if some and some != [-1] else [unknown] for some in found]
