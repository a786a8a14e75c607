"""Whether a language model tells a text from its misprints."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from jaxtyping import Int
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import UserError


class Reranking(Callback, Component):
    r"""Once training is over: how often a text is the likeliest among misprints of it.

    Each held-out text (a row in which none ends) stands beside ``candidates`` - 1 copies in which
    one or two tokens are replaced by others drawn from the held-out texts. They are ranked by their
    (pseudo-)log-likelihoods $\sum_i \log p(x_i | \cdot)$ as the task gives them: in one pass by
    task=autoencode_lm and task=causal_lm, in one for each token by task=masked_lm. Final:
    ``val/rerank_accuracy``, with 1 / candidates by chance. Shapes: candidates (c, n).

    References: https://kexue.fm/archives/7661; Shin et al., arXiv:2004.08097, section 4.3.

    Args:
        texts: how many texts are ranked, or as many as there are.
        candidates: how many candidates each has, itself included.

    Raises:
        ValueError: no texts, or fewer than 2 candidates.
        UserError: a task that gives no likelihoods.
    """

    needs: ClassVar[dict[str, str]] = {
        "language_model": "it compares likelihoods of texts; use task=autoencode_lm, "
        "task=masked_lm or task=causal_lm"
    }

    def __init__(self, texts: int = 100, candidates: int = 8) -> None:
        if texts < 1 or candidates < 2:
            raise ValueError(
                f"texts {texts} must be at least 1, candidates {candidates} at least 2"
            )
        self.texts, self.candidates = texts, candidates

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it."""
        del trainer, stage
        if not hasattr(pl_module, "log_likelihoods"):
            raise UserError(
                "callback=reranking compares likelihoods of texts; use task=autoencode_lm, "
                "task=masked_lm or task=causal_lm"
            )

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, once training is over."""
        if not is_last(trainer):
            return
        task: Any = pl_module
        texts = torch.as_tensor(task.data.splits()["validation"][:]["tokens"]).long()[:, 1:]
        whole = (texts < task.data.tokenizer_.size).all(1)  # no text ends within
        texts = texts[whole]
        texts = texts[:: max(len(texts) // self.texts, 1)][: self.texts]
        candidates = misprints(texts, self.candidates)
        scores = task.log_likelihoods(candidates.flatten(0, 1).to(task.device)).sum(1)
        best = scores.view(len(texts), -1).argmax(1)
        task.final["val/rerank_accuracy"] = float((best == 0).double().mean())


def misprints(texts: Int[Tensor, "t n"], candidates: int) -> Int[Tensor, "t c n"]:
    """Return each text, and after it copies with one or two other tokens; always the same."""
    generator = torch.Generator().manual_seed(0)
    copies = texts[:, None].repeat(1, candidates, 1)
    pool = texts.flatten()
    for row in copies:
        for copy in row[1:]:
            count = int(torch.randint(1, 3, (), generator=generator))
            for place in torch.randperm(len(copy), generator=generator)[:count]:
                others = pool[pool != copy[place]]
                copy[place] = others[torch.randint(len(others), (), generator=generator)]
    return copies
