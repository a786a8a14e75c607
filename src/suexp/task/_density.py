"""Evaluation of densities: exact where a model can, else by samples of its latents."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.data.base import Data
from suexp.errors import UserError, at_least
from suexp.nn.density import LatentDensity
from suexp.task._draws import generator_of
from suexp.task.base import Task

SHOWN = (5, 100)  # vectors and samples of each whose weights are recorded for figures


def log_estimates(
    log_weights: Float[Tensor, "s b"], num_samples: int
) -> Float[Tensor, "{log_weights.shape[0]//num_samples} b"]:
    r"""Return $\log \frac1M \sum_i w_i$ of every M samples in turn, for each vector."""
    groups = len(log_weights) // num_samples
    grouped = log_weights[: groups * num_samples].view(groups, num_samples, -1)
    return grouped.logsumexp(1) - math.log(num_samples)


def sample_size(log_weights: Float[Tensor, "s b"]) -> Float[Tensor, " b"]:
    r"""Return the effective sample size $(\sum w)^2 / \sum w^2$, between 1 and S."""
    return (2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp()


class DensityTask(Task):
    r"""Evaluate a density on held-out vectors, in nats.

    A model with an exact ``log_prob`` logs ``log_prob``. One with latents draws S samples z of each
    x, S the largest of ``eval_num_samples``, and logs for each M of these the mean over x and over
    the S/M groups of $\log \hat q_M(x) = \log \frac1M \sum_i w_i$, as
    ``log_prob_{proposal}_m{M}``: all M from the same samples, so that the estimates rise with M
    without exception (Jensen). ``ess_{proposal}`` is the effective number of the S samples. What
    is known exactly gives ``bias_{proposal}_m{M}`` as well. ``log_prob`` of other models is the
    estimate with the most samples by the chosen proposal, ``log_prob_prior`` that by the prior, and
    ``loss`` is minus ``log_prob``. Of data that were integers there is ``bits_per_dim``,
    $-\log q / (D \log 2) + \log_2 s$ with s integers in one unit of x.

    An estimate of $\log q$ is low on average, the more so the fewer samples: compare at equal M.

    Args:
        proposal: ``encoder``, ``prior`` or ``posterior`` of a model that knows it.
        compare_prior: estimate by samples of the prior as well.
        eval_num_samples: the numbers of samples M.
        max_samples_in_memory: most latents that are decoded at once.
        seed: of the samples; each batch has a generator of its own.
        parts: what every task is given.

    Raises:
        ValueError: a number below 1, or no M at all.
    """

    def __init__(
        self,
        proposal: Literal["encoder", "prior", "posterior"] = "encoder",
        compare_prior: bool = False,
        eval_num_samples: Sequence[int] = (1, 10, 100, 1000),
        max_samples_in_memory: int = 50_000,
        seed: int = 0,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        if not eval_num_samples or min(eval_num_samples) < 1:
            raise ValueError(f"eval_num_samples {list(eval_num_samples)}: at least 1 each")
        at_least(1, max_samples_in_memory=max_samples_in_memory)
        self.proposals = list(dict.fromkeys([proposal, *(["prior"] if compare_prior else [])]))
        self.eval_num_samples = sorted(set(eval_num_samples))
        self.max_samples_in_memory, self.seed = max_samples_in_memory, seed
        self._totals: dict[str, Tensor] = {}
        self._weights: list[dict[str, Any]] = []

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the size of the vectors."""
        return {"input_dim": data.sizes["input_dim"]}

    def _generator(self, split: str, proposal: str, batch_idx: int) -> torch.Generator:
        """Return the generator of a batch, the same for any number of processes."""
        place = batch_idx * self.trainer.world_size + self.global_rank
        return generator_of(self.device, self.seed, split, proposal, place)

    def log_weights(
        self, x: Float[Tensor, "b i"], proposal: Any, generator: torch.Generator
    ) -> Float[Tensor, "s b"]:
        """Return the weights of S samples for each vector, drawn in chunks, in float64."""
        left, parts = self.eval_num_samples[-1], []
        step = max(1, self.max_samples_in_memory // len(x))
        while left:
            part = self.model.log_weights(x, min(step, left), proposal, generator)
            parts.append(_widened(part))
            left -= len(part)
        return torch.cat(parts)

    def _add(self, name: str, total: Tensor) -> None:
        self._totals[name] = (
            self._totals.get(name, torch.zeros((), dtype=torch.float64)) + total.cpu()
        )

    def _evaluate(self, batch: dict[str, Tensor], split: str, batch_idx: int) -> None:
        x = batch["x"]
        exact = _widened(self.model.log_prob(x)) if hasattr(self.model, "log_prob") else None
        self._add("rows", torch.tensor(len(x), dtype=torch.float64))
        if exact is not None:
            self._add("log_prob", exact.sum())
        if not isinstance(self.model, LatentDensity):
            return
        for proposal in self.proposals:
            log_w = self.log_weights(x, proposal, self._generator(split, proposal, batch_idx))
            for m in self.eval_num_samples:
                estimate = log_estimates(log_w, m).mean(0)
                self._add(f"log_prob_{proposal}_m{m}", estimate.sum())
                if exact is not None:
                    self._add(f"bias_{proposal}_m{m}", (estimate - exact).sum())
            self._add(f"ess_{proposal}", sample_size(log_w).sum())
            if batch_idx == 0:
                self._keep_weights(proposal, log_w)

    def _keep_weights(self, proposal: str, log_w: Float[Tensor, "s b"]) -> None:
        """Keep some weights relative to the density that all of the vector's samples give."""
        vectors, samples = SHOWN
        relative = (log_w - log_estimates(log_w, len(log_w)))[:samples, :vectors]
        self._weights += [
            {"proposal": proposal, "vector": b, "log_w": float(relative[s, b])}
            for b in range(relative.shape[1])
            for s in range(relative.shape[0])
        ]

    def _finish_split(self, split: str) -> None:
        totals = {name: self._over_processes(total) for name, total in self._totals.items()}
        rows = float(totals.pop("rows"))
        means = {name: float(total) / rows for name, total in totals.items()}
        if isinstance(self.model, LatentDensity):
            best = {p: means[f"log_prob_{p}_m{self.eval_num_samples[-1]}"] for p in self.proposals}
            means.setdefault("log_prob", best[self.proposals[0]])
            if "prior" in best:
                means["log_prob_prior"] = best["prior"]
        means["loss"] = -means["log_prob"]
        if not math.isfinite(means["loss"]):
            raise UserError(
                f"the {split} split's log-density is {means['log_prob']}: lower the learning rate, "
                "or raise model.min_log_var"
            )
        if self.data.scale is not None:
            dimensions = self.data.sizes["input_dim"]
            bits = means["loss"] / (dimensions * math.log(2))
            means["bits_per_dim"] = bits + math.log2(self.data.scale)
        metrics = {f"{split}/{name}": value for name, value in means.items()}
        self.report({name: torch.tensor(value) for name, value in metrics.items()})
        self.final.update(metrics)  # with the digits that the log rounds away
        self._record(means)
        self._totals.clear()

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        figures = {**super().worst(split), f"{split}/log_prob": -math.inf}
        if self.data.scale is not None:
            figures[f"{split}/bits_per_dim"] = math.inf
        if isinstance(self.model, LatentDensity):
            if "prior" in self.proposals:
                figures[f"{split}/log_prob_prior"] = -math.inf
            for proposal in self.proposals:
                figures[f"{split}/ess_{proposal}"] = 1.0
                for m in self.eval_num_samples:
                    figures[f"{split}/log_prob_{proposal}_m{m}"] = -math.inf
        return figures

    def _record(self, means: dict[str, float]) -> None:
        """Record the rows of the figures: estimates against M, and weights."""
        for table in ("estimates", "weights"):
            self.tables.pop(table, None)
        variance = getattr(self.model, "relative_variance", None)
        rows: list[dict[str, Any]] = []
        for proposal in self.proposals if isinstance(self.model, LatentDensity) else []:
            for m in self.eval_num_samples:
                row: dict[str, Any] = {"proposal": proposal, "m": m}
                row["log_prob"] = means[f"log_prob_{proposal}_m{m}"]
                if f"bias_{proposal}_m{m}" in means:
                    row["bias"] = means[f"bias_{proposal}_m{m}"]
                    row["gap"] = -row["bias"]
                if proposal == "encoder" and variance is not None and variance() < math.inf:
                    row["asymptote"] = variance() / (2 * m)
                rows.append(row)
        self.record_rows("estimates", rows)
        self.record_rows("weights", self._weights)
        self._weights = []

    def _over_processes(self, total: Tensor) -> Tensor:
        if self.trainer.world_size == 1:
            return total
        total = total.to(self.device, copy=True)
        torch.distributed.all_reduce(total)
        return total.cpu()

    def on_validation_epoch_start(self) -> None:
        """Start anew; an evaluation that was broken off must not count."""
        self._totals, self._weights = {}, []

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch's estimates."""
        self._evaluate(batch, "val", batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the validation split's figures."""
        self._finish_split("val")

    def on_test_epoch_start(self) -> None:
        """Set the test split's sums to 0."""
        self._totals, self._weights = {}, []

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch's estimates."""
        self._evaluate(batch, "test", batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the test split's figures."""
        self._finish_split("test")


def _widened(x: Tensor) -> Tensor:
    """Return x in float64; Apple's GPU has none, there it stays."""
    return x if x.device.type == "mps" else x.double()
