"""How well a language model's states find a text's partner, with no training for it."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Int
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback._when import is_last
from suexp.component import Component
from suexp.data.base import Data
from suexp.errors import UserError
from suexp.task.matching import ranks


class Retrieval(Callback, Component):
    r"""Once training is over: rank of text b_i among all b for text a_i, by $\cos(f(a), f(b))$.

    f(x) is the mean of the last hidden states (n, dim) over the real tokens. Final, over held-out
    pairs: ``val/retrieval_mrr``, the mean of 1 / rank, and ``val/retrieval_recall_at_1``. Nothing
    is trained for it, and no token hidden.

    References: https://kexue.fm/archives/7661; Shin et al., arXiv:2004.08097, section 4.4.

    Args:
        data: pairs of texts, with the tokens that the model was trained on.
        pairs: how many of the validation split's pairs are candidates, or as many as there are.

    Raises:
        ValueError: fewer than 2 pairs.
        UserError: no pairs, another vocabulary, or a model without hidden states.
    """

    needs: ClassVar[dict[str, str]] = {
        "data.pairs": "it finds a text's partner; name data with pairs of texts, "
        "suexp.data.docstring_pairs.DocstringPairs, say",
        "hidden_states": "it reads hidden states; use model=transformer or model=tta",
        "text": "its pairs are texts in the tokens of the model's data; use data=pydoc",
    }
    longest: ClassVar[str] = "data.block_size"

    def __init__(self, data: Data, pairs: int = 200) -> None:
        if pairs < 2:
            raise ValueError(f"pairs={pairs}: at least 2")
        self.data, self.pairs = data, pairs

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it."""
        del trainer, stage
        task: Any = pl_module
        if getattr(self.data, "kind", None) != "pairs":
            raise UserError("callback=retrieval needs pairs of texts; data: docstring_pairs, say")
        if not hasattr(task.model, "hidden"):
            raise UserError(
                "callback=retrieval reads hidden states; use model=transformer or model=tta"
            )
        theirs, ours = self.data.sizes["vocab_size"], task.data.sizes["vocab_size"]
        if theirs != ours:
            raise UserError(
                f"callback=retrieval: its pairs have {theirs} different tokens, the model's data "
                f"{ours}; choose one tokenizer for both"
            )
        try:
            task.model.position.check_length(self.data.block_size)  # type: ignore[attr-defined]
        except ValueError as error:
            raise UserError(f"callback=retrieval: {error}") from error

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, once training is over."""
        if not is_last(trainer):
            return
        task: Any = pl_module
        rows = self.data.splits()["validation"]
        chosen = [rows[i] for i in range(min(self.pairs, len(rows)))]
        batch = task.received(self.data.collate(chosen))
        a, b = (mean_state(task, batch[f"tokens_{x}"], batch[f"keep_{x}"]) for x in "ab")
        rank = ranks(a, b)
        task.final["val/retrieval_mrr"] = float(rank.reciprocal().mean())
        task.final["val/retrieval_recall_at_1"] = float((rank <= 1).float().mean())


def mean_state(
    task: Any, tokens: Int[Tensor, "b n"], keep: Bool[Tensor, "b n"]
) -> Float[Tensor, "b c"]:
    """Return the means of the hidden states over real tokens."""
    weight = keep[..., None].float()
    states = task.model.hidden(tokens, keep).float() * weight
    return states.sum(1) / weight.sum(1).clamp(min=1)
