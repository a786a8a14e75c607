"""How much a wrong prefix costs a model that learned to go on after true ones."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from torch import Tensor

from suexp.callback._reading_loss import ReadingLoss
from suexp.errors import one_of
from suexp.nn.replacement import POOLS, Pool, generator_of, replaced
from suexp.task.base import Task


class PrefixGap(ReadingLoss):
    r"""Once training is over: $\mathrm{gap}(r) = L(y | x, \tilde y^r_{<t}) - L(y | x, y_{<t})$.

    L is the mean loss in nats of the validation split's target tokens (b, n), at the end of
    training. In $\tilde y^r$ each token that the model reads of a target is replaced with
    probability r, in all rows, by a draw from the pool (`suexp.nn.replacement`). Teacher forcing
    never meets such prefixes, a model that writes does: exposure bias. Every run draws the same
    replacements. Those of the pool ``model`` are draws from what the model itself predicts after
    the true prefix, errors of its own rather than those of a training method.

    Final: ``val/prefix_gap_r30`` at r = 0.3 and so on, ``val/prefix_gap_model_r30`` for that pool.
    The table ``prefix_gap`` has ``pool``, ``rate``, ``loss`` and ``gap``.

    References: https://kexue.fm/archives/7259; Ranzato et al., Sequence Level Training with
    Recurrent Neural Networks, arXiv:1511.06732.

    Args:
        rates: shares r of the tokens.
        pools: where replacements are drawn from; the first one's metrics have no name of a pool.

    Raises:
        ValueError: a rate outside (0, 1], or an unknown pool.
        UserError: the task has no targets.
    """

    needs: ClassVar[dict[str, str]] = {
        "prefix_length": "it replaces tokens of targets; use task=seq2seq"
    }

    does: ClassVar[str] = "callback=prefix_gap replaces tokens of targets"

    def __init__(
        self,
        rates: Sequence[float | int] = (0.1, 0.2, 0.3, 0.4, 0.5),
        pools: Sequence[Pool] = ("target", "model"),
    ) -> None:
        for rate in rates:
            if not 0 < rate <= 1:
                raise ValueError(f"rates must lie in (0, 1], not {rate}")
        for pool in pools:
            one_of(POOLS, pools=pool)
        self.settings: list[tuple[Pool, float]] = [(p, float(r)) for p in pools for r in rates]
        super().__init__(len(self.settings))

    def inputs(self, task: Any, batch: dict[str, Tensor], number: int) -> Iterator[Tensor]:
        """Give the tokens with wrong targets, by each pool and rate."""
        rank, _ = task.place
        for pool, rate in self.settings:
            yield replaced(task, batch, pool, 1.0, rate, generator_of(number, rank))

    def write(self, task: Task, plain: float, changed: list[float]) -> None:
        """Write down the gaps."""
        task.tables.pop("prefix_gap", None)
        rows = []
        for (pool, rate), loss in zip(self.settings, changed, strict=True):
            name = "prefix_gap" if pool == self.settings[0][0] else f"prefix_gap_{pool}"
            task.final[f"val/{name}_r{round(100 * rate)}"] = loss - plain
            rows.append({"pool": pool, "rate": rate, "loss": loss, "gap": loss - plain})
        task.record_rows("prefix_gap", rows)
