"""How nearly orthogonal random vectors and matrices are (https://kexue.fm/archives/7180)."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, get_args

import torch
from jaxtyping import Float
from scipy import special
from torch import Generator, Tensor, nn

from suexp.errors import UserError, at_least
from suexp.init.variance_scaling import TRUNCATED, Distribution, draw
from suexp.task.estimation import EstimationTask

# E w^4 / (E w^2)^2 of an entry.
_CUT = 2 * math.exp(-2) / math.sqrt(2 * math.pi)  # the normal density at the cut, times the cut
_INSIDE = math.erf(math.sqrt(2))
KURTOSIS: dict[str, float] = {
    "normal": 3.0,
    "uniform": 1.8,
    "truncated_normal": (3 - 2 * _CUT * (4 + 3) / _INSIDE) / TRUNCATED**4,
    "rademacher": 1.0,
    "laplace": 6.0,
}
QUANTILES = 1000  # equally likely intervals of the cosine, for the distance between laws
ANGLES = 90  # bins of the histogram of angles
VALUES = 60  # bins of the histogram of singular values
CORNER = 24  # rows and columns of W'W that are shown
VECTORS = 512  # cosines for each row of the largest matrix


class InitGeometry(EstimationTask):
    r"""Random vectors are nearly perpendicular, random matrices nearly orthogonal; how nearly?

    A sample is one matrix of the largest size, and as many of the smaller ones as have as many
    rows in all. On them are estimated, in float64:

    - the cosine c of two normal vectors of size n: $E c^2 = 1/n$, and $(1+c)/2$ is a
      $\mathrm{Beta}(\frac{n-1}2, \frac{n-1}2)$ variable (``cosine``, ``angles``);
    - $G = W^\top W$ of W (n, n) with entries of variance 1/n and kurtosis $\kappa$: the mean of
      $(G - I)_{ij}^2$ over all entries is $(n + \kappa - 2)/n^2$, $\mathrm{Var}\,G_{ij} = 1/n$,
      $\mathrm{Var}\,G_{ii} = (\kappa-1)/n$ (``gram``);
    - the same of W (m, n) for three variances, 1/m, 1/n and 2/(m+n) (``rectangle``);
    - the singular values of W (a n, n) with variance 1/(a n), which fill
      $[1-a^{-1/2}, 1+a^{-1/2}]$ (Marchenko and Pastur), and of the orthogonal initialisation, all
      of which are 1 (``spectrum``): near orthogonality holds for fixed vectors, not for all.

    Metrics: ``cosine_square_error`` and ``gram_error``, the largest relative distance from theory,
    ``ks``, the largest Kolmogorov-Smirnov distance times $\sqrt N$ (1.63: one in a hundred laws
    that are right has more), ``rectangle_{rule}``, means over the sizes of the mean of
    $(G-I)_{ij}^2$, ``singular_min_a{a}`` and ``singular_max_a{a}``, ``orthogonal_error``.

    Post: https://kexue.fm/archives/7180. Papers: Saxe et al., arXiv:1312.6120; Marchenko and
    Pastur, Distribution of eigenvalues for some sets of random matrices,
    https://doi.org/10.1070/SM1967v001n04ABEH001994.

    Args:
        sizes: n of vectors and square matrices.
        distributions: laws of the entries, see `suexp.init.variance_scaling.draw`.
        rectangles: pairs [m, n] of rows and columns, m above n.
        aspects: a.
        spectrum_size: n of the matrices whose singular values are taken.
        seed: of the draws.

    Raises:
        ValueError: a size below 2, an unknown law, a rectangle that is not tall, no size at all.
    """

    def __init__(
        self,
        sizes: Sequence[int] = (16, 64, 256, 1024),
        distributions: Sequence[str] = tuple(KURTOSIS),
        rectangles: Sequence[Sequence[int]] = ([256, 64], [128, 96]),
        aspects: Sequence[int] = (1, 2, 4),
        spectrum_size: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        if not sizes or not distributions:
            raise ValueError("sizes and distributions must name at least one each")
        for size in (*sizes, spectrum_size):
            at_least(2, size=size)
        for aspect in aspects:
            at_least(1, aspect=aspect)
        for law in distributions:
            if law not in get_args(Distribution):
                known = ", ".join(get_args(Distribution))
                raise ValueError(f"distributions: {law!r} is none of {known}")
        if not all(len(pair) == 2 and pair[0] > pair[1] > 1 for pair in rectangles):
            raise ValueError(f"rectangles: pairs [m, n] with m above n above 1, not {rectangles}")
        self.sizes, self.laws, self.aspects = list(sizes), list(distributions), list(aspects)
        self.rectangles = [tuple(pair) for pair in rectangles]
        self.spectrum_size = spectrum_size
        count, laws = len(self.sizes), len(self.laws)
        self.add_total("square", count)
        self.add_total("ranks", count, QUANTILES, dtype=torch.int64)
        self.add_total("angles", count, ANGLES, dtype=torch.int64)
        for name in ("error", "error_squared", "off", "diagonal"):
            self.add_total(name, laws, count)
        self.add_total("rectangle", len(self.rectangles), 3)
        self.add_total("values", len(self.aspects), VALUES, dtype=torch.int64)
        self.add_total("smallest", len(self.aspects), join="min")
        self.add_total("largest", len(self.aspects), join="max")
        self.add_total("orthogonal", 1, join="max")

    def per_sample(self, n: int) -> int:
        """Return how many matrices of this size a sample has."""
        return max(1, max(self.sizes) // n)

    def draw(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """Add ``count`` samples."""
        out = {name: torch.zeros_like(total) for name, total in self.totals.items()}
        out["smallest"].fill_(math.inf)
        out["largest"].fill_(-math.inf)
        del out["draws"]
        for _ in range(count):
            for column, n in enumerate(self.sizes):
                self._cosines(out, column, n, generator)
                for row, law in enumerate(self.laws):
                    self._gram(
                        out, row, column, self.matrices(self.per_sample(n), n, n, law, generator)
                    )
            for row, (m, n) in enumerate(self.rectangles):
                gram = self.gram(self.matrices(1, m, n, "normal", generator))
                for column, variance in enumerate((1 / m, 1 / n, 2 / (m + n))):
                    off = variance * m * gram[0]
                    out["rectangle"][row, column] += _distance(off[None])[0]
            self._spectra(out, generator)
        return out

    def matrices(
        self, count: int, m: int, n: int, law: Any, generator: Generator
    ) -> Float[Tensor, "count m n"]:
        """Return matrices with entries of variance 1/m."""
        weight = torch.empty(count, m, n, dtype=self.real, device=self.device)
        draw(weight, m**-0.5, law, generator)
        return weight

    @staticmethod
    def gram(weight: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b n n"]:
        """Return W'W."""
        return weight.mT @ weight

    def _cosines(self, out: dict[str, Tensor], row: int, n: int, generator: Generator) -> None:
        pairs = VECTORS * self.per_sample(n)
        shape = (2, pairs, n)
        x, y = torch.randn(shape, generator=generator, dtype=self.real, device=self.device)
        cosine = nn.functional.cosine_similarity(x, y, dim=-1).clamp(-1, 1)
        out["square"][row] += cosine.square().sum()
        half = (n - 1) / 2
        rank = torch.from_numpy(special.betainc(half, half, ((1 + cosine) / 2).cpu().numpy()))
        out["ranks"][row] += _counts(rank.to(cosine) * QUANTILES, QUANTILES)
        out["angles"][row] += _counts(cosine.arccos() / math.pi * ANGLES, ANGLES)

    def _gram(self, out: dict[str, Tensor], row: int, column: int, weight: Tensor) -> None:
        gram = self.gram(weight)
        error = _distance(gram)
        n = gram.shape[-1]
        diagonal = (gram.diagonal(dim1=-2, dim2=-1) - 1).square().sum(-1)
        out["error"][row, column] += error.sum()
        out["error_squared"][row, column] += error.square().sum()
        out["diagonal"][row, column] += (diagonal / n).sum()
        out["off"][row, column] += ((error * n * n - diagonal) / (n * (n - 1))).sum()

    def _spectra(self, out: dict[str, Tensor], generator: Generator) -> None:
        n = self.spectrum_size
        for row, aspect in enumerate(self.aspects):
            weight = self.matrices(1, aspect * n, n, "normal", generator)[0]
            values = torch.linalg.svdvals(weight)
            out["values"][row] += _counts(values / self._top(aspect) * VALUES, VALUES)
            out["smallest"][row] = torch.minimum(out["smallest"][row], values.min())
            out["largest"][row] = torch.maximum(out["largest"][row], values.max())
        weight = torch.empty(n, n, dtype=self.real, device=self.device)
        nn.init.orthogonal_(weight, generator=generator)
        off = (torch.linalg.svdvals(weight) - 1).abs().max()
        out["orthogonal"][0] = torch.maximum(out["orthogonal"][0], off)

    @staticmethod
    def _top(aspect: int) -> float:
        return 1.05 * (1 + aspect**-0.5)

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return the distances from theory; record the rows of the figures."""
        draws = int(totals["draws"])
        metrics = self._told_cosines(totals, draws) | self._told_gram(totals, draws)
        rules = ("fan_out", "fan_in", "fan_avg")
        errors = totals["rectangle"] / draws
        for (row, (m, n)), (column, rule) in itertools.product(
            enumerate(self.rectangles), enumerate(rules)
        ):
            cell = {"m": m, "n": n, "rule": rule, "error": float(errors[row, column])}
            self.record_rows("rectangle", [cell])
        if self.rectangles:
            means = errors.mean(0).tolist()
            metrics |= {f"rectangle_{rule}": x for rule, x in zip(rules, means, strict=True)}
        for row, aspect in enumerate(self.aspects):
            metrics[f"singular_min_a{aspect}"] = float(totals["smallest"][row])
            metrics[f"singular_max_a{aspect}"] = float(totals["largest"][row])
            self._record_values(aspect, totals["values"][row])
        metrics["orthogonal_error"] = float(totals["orthogonal"][0])
        self._record_corners()
        return metrics

    def _told_cosines(self, totals: dict[str, Tensor], draws: int) -> dict[str, float]:
        worst, distance = 0.0, 0.0
        for row, n in enumerate(self.sizes):
            number = draws * self.per_sample(n) * VECTORS
            square = float(totals["square"][row]) / number
            below = totals["ranks"][row].cumsum(0).double() / number
            even = torch.arange(1, QUANTILES + 1, dtype=torch.float64) / QUANTILES
            ks = float((below - even).abs().max()) * math.sqrt(number)
            worst, distance = max(worst, abs(square * n - 1)), max(distance, ks)
            self.record_rows("cosine", [{"n": n, "square": square, "theory": 1 / n, "ks": ks}])
            width = math.pi / ANGLES
            log_norm = special.gammaln(n / 2) - special.gammaln((n - 1) / 2)
            for place, seen in enumerate(totals["angles"][row].tolist()):
                angle = (place + 0.5) * width
                density = math.exp(log_norm) / math.sqrt(math.pi) * math.sin(angle) ** (n - 2)
                cell = {"n": n, "angle": math.degrees(angle), "density": seen / number / width}
                self.record_rows("angles", [cell | {"theory": density}])
        return {"cosine_square_error": worst, "ks": distance}

    def _told_gram(self, totals: dict[str, Tensor], draws: int) -> dict[str, float]:
        worst = 0.0
        for (row, law), (column, n) in itertools.product(
            enumerate(self.laws), enumerate(self.sizes)
        ):
            number = draws * self.per_sample(n)
            mean = {
                name: float(totals[name][row, column]) / number
                for name in ("error", "error_squared", "diagonal", "off")
            }
            theory = (n + KURTOSIS[law] - 2) / n**2
            worst = max(worst, abs(mean["error"] / theory - 1))
            spread = max(mean["error_squared"] - mean["error"] ** 2, 0.0)
            cell = {
                "law": law,
                "n": n,
                "error": mean["error"],
                "standard_error": math.sqrt(spread / max(number - 1, 1)),
                "theory": theory,
                "n_times_diagonal": n * mean["diagonal"],
                "n_times_off": n * mean["off"],
                "kurtosis": KURTOSIS[law],
            }
            self.record_rows("gram", [cell])
        return {"gram_error": worst}

    def _record_values(self, aspect: int, counts: Tensor) -> None:
        """Density of the singular values, and Marchenko and Pastur's."""
        width, total = self._top(aspect) / VALUES, int(counts.sum())
        low, high = 1 - aspect**-0.5, 1 + aspect**-0.5
        for place, seen in enumerate(counts.tolist()):
            s = (place + 0.5) * width
            inside = max((high**2 - s**2) * (s**2 - low**2), 0.0)
            theory = aspect * math.sqrt(inside) / (math.pi * s)
            cell = {"aspect": aspect, "value": s, "density": seen / total / width, "theory": theory}
            self.record_rows("spectrum", [cell])

    def _record_corners(self) -> None:
        """A corner of one W'W of each size, for the figure."""
        for n in self.sizes:
            generator = self.generator(0)
            gram = self.gram(self.matrices(1, n, n, "normal", generator))[0]
            side = min(CORNER, n)
            rows = [
                {"n": n, "row": i, "column": j, "value": float(gram[i, j])}
                for i, j in itertools.product(range(side), repeat=2)
            ]
            self.record_rows("corner", rows)

    def setup(self, stage: str) -> None:
        """Refuse to be trained, and a device without float64's factorisations.

        Raises:
            UserError: called by ``trainer.fit`` or on a device that has no float64.
        """
        super().setup(stage)
        if self.device.type == "mps":
            raise UserError("task=init_geometry needs float64; use trainer=cpu")


def _distance(gram: Float[Tensor, "b n n"]) -> Float[Tensor, " b"]:
    """Return the mean of (G - I)^2 over the entries of each matrix."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return (gram - eye).square().mean((-2, -1))


def _counts(places: Tensor, bins: int) -> Tensor:
    """Return how many fall into each of the bins [0, 1), [1, 2), ...; the last is closed."""
    return torch.bincount(places.long().clamp(0, bins - 1), minlength=bins)
