"""How well random features estimate exp(x.y) and attention (https://kexue.fm/archives/7921)."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from suexp.attention.performer import features, projection
from suexp.errors import at_least, between, some
from suexp.task.estimation import EstimationTask

CELLS = ("mse", "mse_squared", "bias", "bias_squared", "independent")
Kernel = Literal["positive", "hyperbolic", "trigonometric"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
BINS_PER_DECADE, DECADES = 200, 6  # of the histogram of errors, 1e-6 to 1e6
MATRIX = 16  # rows and columns of the attention matrix that is recorded for the figure


def relative_variance(
    kernel: Kernel, x: Float[Tensor, "*b d"], y: Float[Tensor, "*b d"], m: int
) -> Float[Tensor, "*b"]:
    r"""Variance of the estimate of $K = e^{x \cdot y}$ over $K^2$, for m independent directions.

    With $s = |x+y|^2$ and $t = |x-y|^2$ it is $e^s(1-e^{-s})/m$ (positive), $\frac12 (1-e^{-s})$
    times that (hyperbolic) and $e^s K^{-4} (1-e^{-t})^2 / 2m$ (trigonometric).
    """
    s, t = (x + y).square().sum(-1), (x - y).square().sum(-1)
    if kernel == "positive":
        return s.expm1() / m
    if kernel == "hyperbolic":
        return s.expm1() * -torch.expm1(-s) / (2 * m)
    return (s - 4 * (x * y).sum(-1)).exp() * torch.expm1(-t).square() / (2 * m)


class KernelEstimation(EstimationTask):
    r"""Errors of $\hat K = \phi(x) \cdot \phi(y)$ for $K = e^{x \cdot y}$, and of attention by it.

    On each draw of the directions W (m, d) the kernel is estimated for ``pairs`` pairs of vectors
    of norm r, turned at random: ``mse_r{r}_m{m}`` is the mean of $(\hat K/K - 1)^2$ and
    ``bias_r{r}_m{m}`` that of $\hat K/K - 1$. A sample is as many directions as the largest m, so
    that a smaller m is drawn more often, at the same cost.

    Attention is computed with ``output_features`` features from q, k with entries $N(0, \sigma^2)$
    over $d^{1/4}$ and v with entries N(0, 1), all of shape (n, d): ``output_error_s{sigma}`` is the
    median over samples of $|\hat o - o| / |o|$ in the Frobenius norm.

    Post: https://kexue.fm/archives/7921. Paper: Choromanski et al., Rethinking Attention with
    Performers, https://arxiv.org/abs/2009.14794.

    Args:
        kernel: positive, hyperbolic or trigonometric; the last two have two features a direction.
        orthogonal: directions orthogonal within blocks of d rows.
        scaling: norms of orthogonal directions: 0, those of Gaussian vectors; 1, all sqrt(d).
        head_dim: d.
        num_features: the numbers of directions m.
        norms: the norms r of x and y.
        pairs: pairs of vectors on each draw of the directions.
        sigmas: the standard deviations of queries and keys before the division.
        length: n, number of queries and of keys.
        output_features: features (not directions) behind each output.
        chunk: most numbers in a tensor at once; it bounds memory.
        seed: of the draws.

    Raises:
        ValueError: an unknown kernel, or a size that is not positive.
    """

    def __init__(
        self,
        kernel: Kernel = "positive",
        orthogonal: bool = True,
        scaling: Literal[0, 1] = 0,
        head_dim: int = 16,
        num_features: Sequence[int] = (16, 32, 64, 128, 256),
        norms: Sequence[int | float] = (0.5, 1.0, 1.5, 2.0),
        pairs: int = 8,
        sigmas: Sequence[int | float] = (0.3, 0.5, 1.0),
        length: int = 64,
        output_features: int = 64,
        chunk: int = 1_000_000,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        if kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, got {kernel!r}")
        self.per_direction = 1 if kernel == "positive" else 2
        if output_features < 1 or output_features % self.per_direction:
            raise ValueError(
                f"output_features must be a positive multiple of {self.per_direction} "
                f"for kernel={kernel}, got {output_features}"
            )
        some(num_features=num_features, norms=norms, sigmas=sigmas)
        at_least(1, num_features=num_features, head_dim=head_dim, pairs=pairs, length=length)
        at_least(1, chunk=chunk)
        between("(0, inf)", norms=norms, sigmas=sigmas)
        if scaling not in (0, 1):
            raise ValueError(f"scaling must be 0 or 1, got {scaling}")
        self.kernel, self.orthogonal, self.scaling = kernel, orthogonal, scaling
        self.head_dim, self.pairs, self.length = head_dim, pairs, length
        self.output_features, self.chunk = output_features, chunk
        self.num_features, self.norms, self.sigmas = list(num_features), list(norms), list(sigmas)
        cells = (len(self.norms), len(self.num_features))
        for name in CELLS:
            self.add_total(name, *cells)
        bins = 2 * DECADES * BINS_PER_DECADE
        self.add_total("errors", len(self.sigmas), bins, dtype=torch.int64)

    def generator(self, batch_idx: int) -> Generator:
        """Return the batch's generator, on the CPU as the directions are always drawn there."""
        seed = super().generator(batch_idx).initial_seed()
        return Generator().manual_seed(seed)

    def draws_per_sample(self, m: int) -> int:
        """Return how many draws of m directions cost as much as one of the largest m."""
        return max(self.num_features) // m

    def directions(self, count: int, m: int, generator: Generator) -> Float[Tensor, "count m d"]:
        """Draw W several times; every draw begins with a block of its own."""
        d = self.head_dim
        rows = -(-m // d) * d
        drawn = projection(
            count * rows, d, self.orthogonal, self.scaling, generator, dtype=torch.float64
        )
        return drawn.view(count, rows, d)[:, :m].to(self.device, self.real)

    def map(self, x: Float[Tensor, "count n d"], w: Float[Tensor, "count m d"]) -> Tensor:
        """Return the features of each draw's vectors under its own directions."""
        return torch.vmap(lambda vectors, rows: features(vectors, rows, self.kernel))(x, w)

    def normal(self, *shape: int, generator: Generator) -> Tensor:
        """Draw standard normal numbers."""
        drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return drawn.to(self.device, self.real)

    def draw(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """Add the errors of ``count`` samples of directions."""
        out = {name: torch.zeros_like(self.totals[name]) for name in (*CELLS, "errors")}
        width = max(max(self.num_features) * self.pairs, self.length**2) * self.per_direction
        step = max(1, self.chunk // width)
        for start in range(0, count, step):
            size = min(step, count - start)
            for column, m in enumerate(self.num_features):
                self._add_kernel(out, column, size * self.draws_per_sample(m), generator)
            for row in range(len(self.sigmas)):
                out["errors"][row] += self._histogram(self.output_errors(row, size, generator))
        return out

    def _add_kernel(
        self, out: dict[str, Tensor], column: int, draws: int, generator: Generator
    ) -> None:
        m = self.num_features[column]
        w = self.directions(draws, m, generator)
        unit = self.normal(2, draws, self.pairs, self.head_dim, generator=generator)
        unit = torch.nn.functional.normalize(unit, dim=-1)
        for row, norm in enumerate(self.norms):
            x, y = norm * unit
            estimate = (self.map(x, w) * self.map(y, w)).sum(-1)
            off = estimate * (-(x * y).sum(-1)).exp() - 1
            # Pairs share their draw's directions, so a draw's mean is the independent unit.
            mse, bias = off.square().mean(1), off.mean(1)
            independent = relative_variance(self.kernel, x, y, m).mean(1)
            values = (mse, mse.square(), bias, bias.square(), independent)
            for name, value in zip(CELLS, values, strict=True):
                out[name][row, column] += value.sum()

    def output_errors(self, row: int, count: int, generator: Generator) -> Float[Tensor, " count"]:
        """Return the relative errors of the attention outputs at one of the sigmas."""
        m = self.output_features // self.per_direction
        w = self.directions(count, m, generator)
        q, k, v = self.normal(3, count, self.length, self.head_dim, generator=generator)
        scale = self.sigmas[row] * self.head_dim**-0.25
        q, k = q * scale, k * scale
        exact = (q @ k.mT).softmax(-1) @ v
        weights = self.map(q, w) @ self.map(k, w).mT
        estimate = (weights / weights.sum(-1, keepdim=True)) @ v
        return (estimate - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)

    def _histogram(self, errors: Float[Tensor, " count"]) -> Tensor:
        bins = ((errors.log10() + DECADES) * BINS_PER_DECADE).nan_to_num(posinf=1e9)
        last = 2 * DECADES * BINS_PER_DECADE - 1
        return torch.bincount(bins.long().clamp(0, last), minlength=last + 1)

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return the errors by norm and number of directions; record the rows of the figures."""
        metrics = {}
        for (row, r), (column, m) in itertools.product(
            enumerate(self.norms), enumerate(self.num_features)
        ):
            draws = int(totals["draws"]) * self.draws_per_sample(m)
            mean = {name: float(totals[name][row, column]) / draws for name in CELLS}
            spread = max(mean["mse_squared"] - mean["mse"] ** 2, 0.0)
            metrics[f"mse_r{r:g}_m{m}"] = mean["mse"]
            metrics[f"bias_r{r:g}_m{m}"] = mean["bias"]
            cell = {
                "kernel": self.kernel,
                "orthogonal": self.orthogonal,
                "r": r,
                "m": m,
                "draws": draws,
                "mse": mean["mse"],
                "standard_error": math.sqrt(spread / draws),
                "bias": mean["bias"],
                "bias_standard_error": math.sqrt(
                    max(mean["bias_squared"] - mean["bias"] ** 2, 0.0) / draws
                ),
                "independent": mean["independent"],
            }
            self.record_rows("kernel", [cell])
        for sigma, histogram in zip(self.sigmas, totals["errors"], strict=True):
            error = _median(histogram)
            metrics[f"output_error_s{sigma:g}"] = error
            self.record_rows("output", [{"kernel": self.kernel, "sigma": sigma, "error": error}])
        self._record_matrix()
        return metrics

    def _record_matrix(self) -> None:
        """An attention matrix of the middle sigma, exact and estimated."""
        generator = Generator().manual_seed(self.seed)
        n = min(MATRIX, self.length)
        sigma = sorted(self.sigmas)[len(self.sigmas) // 2]
        q, k = self.normal(2, n, self.head_dim, generator=generator)
        q, k = (x * sigma * self.head_dim**-0.25 for x in (q, k))
        w = self.directions(1, self.output_features // self.per_direction, generator)[0]
        estimate = features(q, w, self.kernel) @ features(k, w, self.kernel).mT
        tables = {
            "exact": (q @ k.mT).softmax(-1),
            self.kernel: estimate / estimate.sum(-1, keepdim=True),
        }
        for which, table in tables.items():
            for query, key in itertools.product(range(n), repeat=2):
                weight = float(table[query, key])
                row = {"which": which, "query": query, "key": key, "weight": weight}
                self.record_rows("matrix", [row])


def _median(histogram: Tensor) -> float:
    """Read the median off counts over logarithmic bins."""
    below = histogram.cumsum(0)
    half = float(below[-1]) / 2
    position = int((below < half).sum())
    inside = (half - float(below[position] - histogram[position])) / float(histogram[position])
    return float(10 ** ((position + inside) / BINS_PER_DECADE - DECADES))
