"""How long it takes to say how likely a text is."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import UserError, at_least, some
from suexp.task._clock import shortest_seconds


class LikelihoodTime(Callback, Component):
    r"""Once training is over: seconds for $\sum_i \log p(x_i | \cdot)$ of texts, by their length.

    task=autoencode_lm and task=causal_lm need one pass over (texts, n) tokens, task=masked_lm n
    passes, which it makes in chunks. Table ``likelihood_time``: n and seconds for one text; final:
    ``val/likelihood_seconds_nN``. The shortest of several rounds counts, on a CPU the processor's
    time. https://kexue.fm/archives/7661; Shin et al., arXiv:2004.08097.

    Args:
        lengths: lengths of the texts, in tokens.
        texts: how many texts are scored at once.
        repeats: rounds at each length.

    Raises:
        ValueError: no lengths, or a number below 1.
        UserError: a task that gives no likelihoods, or positions that end before a length.
    """

    needs: ClassVar[dict[str, str]] = {
        "language_model": "it asks for likelihoods of texts; use task=autoencode_lm, "
        "task=masked_lm or task=causal_lm"
    }
    longest: ClassVar[str] = "lengths"

    def __init__(
        self, lengths: Sequence[int] = (8, 16, 32, 64), texts: int = 16, repeats: int = 3
    ) -> None:
        some(lengths=lengths)
        at_least(1, lengths=lengths, texts=texts, repeats=repeats)
        self.lengths, self.texts, self.repeats = sorted(set(lengths)), texts, repeats

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it."""
        del trainer, stage
        task: Any = pl_module
        if not hasattr(task, "log_likelihoods"):
            raise UserError(
                "callback=likelihood_time asks for likelihoods of texts; use task=autoencode_lm, "
                "task=masked_lm or task=causal_lm"
            )
        try:
            task.model.position.check_length(self.lengths[-1])
        except ValueError as error:
            raise UserError(f"callback=likelihood_time: {error}") from error

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, once training is over."""
        if not is_last(trainer):
            return
        task: Any = pl_module
        generator = torch.Generator().manual_seed(0)
        task.tables.pop("likelihood_time", None)
        for length in self.lengths:
            size = task.data.tokenizer_.size  # ordinary tokens
            tokens = torch.randint(size, (self.texts, length), generator=generator)
            tokens = tokens.to(task.device)

            def score(tokens: torch.Tensor = tokens) -> None:
                task.log_likelihoods(tokens)

            score()
            seconds = shortest_seconds(score, task.device, repeats=self.repeats) / self.texts
            task.final[f"val/likelihood_seconds_n{length}"] = seconds
            task.record_rows("likelihood_time", [{"n": length, "seconds": seconds}])
