"""How much it costs a model that words of its source are hidden."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from torch import Tensor

from suexp.callback._reading_loss import ReadingLoss
from suexp.errors import between
from suexp.nn.replacement import generator_of
from suexp.nn.word_noise import noised
from suexp.task.base import Task


class SourceGap(ReadingLoss):
    r"""Once training is over: $L(y | \tilde x^r, y_{<t})$, words of the source x hidden at rate r.

    L is the mean loss in nats of the validation split's target tokens (b, n), at the end of
    training. In $\tilde x^r$ all tokens of each word are hidden with probability r, in all rows
    (`suexp.nn.word_noise`). Every run hides the same.

    Final: ``val/loss_hidden_r30`` at r = 0.3 and so on. The table ``source_gap`` has ``rate``,
    ``loss`` and ``gap``, the loss above that of whole sources.

    Post: https://kexue.fm/archives/8454.

    Args:
        rates: shares r of the words.

    Raises:
        ValueError: a rate outside (0, 1].
        UserError: the task has no sources.
    """

    needs: ClassVar[dict[str, str]] = {
        "prefix_length": "it hides words of sources; use task=seq2seq or task=similar_sentence"
    }

    does: ClassVar[str] = "callback=source_gap hides words of sources"

    def __init__(self, rates: Sequence[float | int] = (0.15, 0.3, 0.45, 0.6)) -> None:
        between("(0, 1]", rates=rates)
        self.rates = [float(rate) for rate in rates]
        super().__init__(len(self.rates))

    def inputs(self, task: Any, batch: dict[str, Tensor], number: int) -> Iterator[Tensor]:
        """Give the tokens with words of the sources hidden, by each rate."""
        rank, _ = task.place
        for rate in self.rates:
            yield noised(task, batch, 1.0, rate, generator_of(number, rank), 1.0, 0.0)

    def write(self, task: Task, plain: float, changed: list[float]) -> None:
        """Write down the losses."""
        task.tables.pop("source_gap", None)
        rows = [{"rate": 0.0, "loss": plain, "gap": 0.0}]
        for rate, loss in zip(self.rates, changed, strict=True):
            task.final[f"val/loss_hidden_r{round(100 * rate)}"] = loss
            rows.append({"rate": rate, "loss": loss, "gap": loss - plain})
        task.record_rows("source_gap", rows)
