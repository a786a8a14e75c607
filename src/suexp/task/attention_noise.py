"""How much noise on attention's scores changes its output (https://kexue.fm/archives/9593)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from suexp.attention.noisy_softmax import (
    Denominator,
    Law,
    check_noise,
    draw_noise,
    exp_moment,
    noisy_weights,
)
from suexp.errors import at_least, some
from suexp.task.estimation import EstimationTask

SUMS = ("square", "size", "expected", "effective")


class AttentionNoise(EstimationTask):
    r"""$|\tilde o - o|^2$, $\tilde o = \sum_i e^{s_i+\epsilon_i} v_i / \sum_i e^{s_i+\epsilon_i}$.

    A sample is a query's scores $s_i \sim N(0, \sigma^2)$, values (n, d) with entries
    $v_{ij} = \mu + \beta s_i + N(0, 1)$, and noise $\epsilon_i$ that depends on neither. Over many
    keys the factor $\mathrm{E}[e^\epsilon]$ of numerator and denominator cancels; by the delta
    method

    $$\mathrm{E}|\tilde o - o|^2 \approx \left(\frac{\mathrm{E}[e^{2\epsilon}]}
    {\mathrm{E}[e^\epsilon]^2} - 1\right) \sum_i p_i^2 |v_i - o|^2,$$

    so the error falls as $n_{\mathrm{eff}}^{-1/2}$, $n_{\mathrm{eff}} = 1 / \sum_i p_i^2$, where
    the factor is finite: always for normal and uniform noise, for Laplace noise if $b < 1/2$.
    With a clean denominator $\mathrm{E}|\tilde o - o|^2 = \mathrm{Var}(e^\epsilon) \sum_i p_i^2
    |v_i|^2 + (\mathrm{E}[e^\epsilon] - 1)^2 |o|^2$ exactly, and the last term stays.

    For each n: ``rel_error_n{n}``, $(\mathrm{E}|\tilde o - o|^2 / \mathrm{E}|o|^2)^{1/2}$;
    ``effective_n{n}``, the mean of $n_{\mathrm{eff}}$; ``mse_ratio_n{n}``, measured over expected
    squared error, where that is finite and not 0. The table ``errors`` holds them, with the
    expected relative error where there is one.

    References: https://kexue.fm/archives/9593; the delta method: van der Vaart, Asymptotic
    Statistics, https://doi.org/10.1017/CBO9780511802256, chapter 3.

    Args:
        law: of the noise, see `suexp.attention.noisy_softmax`.
        noise_std: its standard deviation.
        denominator: noisy or clean.
        score_std: $\sigma$.
        head_dim: d.
        value_mean: $\mu$.
        value_slope: $\beta$; values that know nothing of the scores would not notice even a change
            of temperature.
        seq_lens: the numbers of keys n.
        chunk: numbers in a tensor at once; it bounds memory.
        seed: of the draws.

    Raises:
        ValueError: a size or score_std that is not positive, a negative noise_std, an unknown law
            or denominator, or Cauchy noise over a clean denominator.
    """

    def __init__(
        self,
        law: Law = "normal",
        noise_std: float = 0.5,
        denominator: Denominator = "noisy",
        score_std: float = 1.0,
        head_dim: int = 16,
        value_mean: float = 0.0,
        value_slope: float = 0.5,
        seq_lens: Sequence[int] = (16, 64, 256, 1024, 4096),
        chunk: int = 4_000_000,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        check_noise(noise_std, law, denominator)
        some(seq_lens=seq_lens)
        at_least(1, seq_lens=seq_lens, head_dim=head_dim, chunk=chunk)
        if not score_std > 0:
            raise ValueError(f"score_std must be above 0, not {score_std}")
        self.law, self.noise_std, self.denominator = law, noise_std, denominator
        self.score_std, self.head_dim = score_std, head_dim
        self.value_mean, self.value_slope = value_mean, value_slope
        self.seq_lens, self.chunk = list(seq_lens), chunk
        for name in SUMS:
            self.add_total(name, len(self.seq_lens))

    def draw(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """Add the squared errors of ``count`` queries for each number of keys."""
        out = {name: torch.zeros_like(self.totals[name]) for name in SUMS}
        for column, n in enumerate(self.seq_lens):
            step = max(1, self.chunk // (n * self.head_dim))
            for start in range(0, count, step):
                size = min(step, count - start)
                for name, value in self.errors(size, n, generator).items():
                    out[name][column] += value.sum()
        return out

    def errors(self, count: int, n: int, generator: Generator) -> dict[str, Float[Tensor, " b"]]:
        """Return what ``count`` queries over n keys add to the sums."""
        kind: Any = {"generator": generator, "dtype": self.real, "device": self.device}
        s = torch.randn(count, 1, n, **kind) * self.score_std
        v = torch.randn(count, n, self.head_dim, **kind)
        v += self.value_mean + self.value_slope * s.mT
        noise = draw_noise(self.law, self.noise_std, s, generator)
        p = s.softmax(-1)
        o = p @ v
        shaken = noisy_weights(s, noise, denominator=self.denominator) @ v
        return {
            "square": (shaken - o).square().sum((1, 2)),
            "size": o.square().sum((1, 2)),
            "expected": self.expected(p, v, o),
            "effective": p.square().sum((1, 2)).reciprocal(),
        }

    def expected(
        self, p: Float[Tensor, "b 1 n"], v: Float[Tensor, "b n d"], o: Float[Tensor, "b 1 d"]
    ) -> Float[Tensor, " b"]:
        """Return the expected squared error; infinite or NaN where there is none."""
        mean, square = (exp_moment(self.law, self.noise_std, t) for t in (1.0, 2.0))
        if self.denominator == "clean":
            spread = (square - mean**2) * (p.square() @ v.square().sum(-1, keepdim=True))
            return spread[:, 0, 0] + (mean - 1) ** 2 * o.square().sum((1, 2))
        factor = square / mean**2 - 1 if math.isfinite(mean) else math.inf
        return factor * (p.square() @ (v - o).square().sum(-1, keepdim=True))[:, 0, 0]

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return the errors by number of keys; record the rows of the figures."""
        metrics = {}
        for column, n in enumerate(self.seq_lens):
            square, size, expected, effective = (float(totals[name][column]) for name in SUMS)
            row: dict[str, Any] = {
                "law": self.law,
                "noise_std": self.noise_std,
                "n": n,
                "rel_error": math.sqrt(square / size),
                "effective": effective / int(totals["draws"]),
            }
            metrics[f"rel_error_n{n}"] = row["rel_error"]
            metrics[f"effective_n{n}"] = row["effective"]
            if 1e-12 * size < expected < math.inf:
                metrics[f"mse_ratio_n{n}"] = square / expected
                row["expected"] = math.sqrt(expected / size)
            self.record_rows("errors", [row])
        return metrics
