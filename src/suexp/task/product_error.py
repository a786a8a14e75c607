"""What an arithmetic's products and their sums miss."""

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from suexp.arithmetic._logarithm import log2
from suexp.arithmetic.base import Arithmetic
from suexp.errors import at_least, some
from suexp.task.estimation import EstimationTask

LAWS = ("uniform", "normal")
SIGNS = ("signed", "positive")
BINS = 100  # of a relative error between 0 and an eighth
GRID = 33  # points of the error's picture in each direction
HELD = 2**21  # numbers of the vectors that are held at once


class ProductError(EstimationTask):
    r"""$\epsilon = 1 - (x \odot y) / (xy)$ of float32 numbers, and what becomes of it in sums.

    Pairs are drawn with mantissas evenly spread, $x, y \in [1, 2)$, and from N(0, 1); sums are
    $\sum_i x_i \odot y_i$ of n normal pairs, signed or of absolute values. By Mitchell's rule
    $0 \le \epsilon \le 1/9$, of mean .0382 and, over the products' mean, 1/27; sums of
    positive terms keep the bound, signed ones need not, since the terms cancel.

    Logged: ``test/max_error`` and ``test/min_error`` of all pairs; of the even ones
    ``test/mean_error`` and ``test/mean_ratio``, $E[x \odot y] / E[xy]$; for each n
    ``test/beyond_SIGN_nN``, the share of sums that miss more than a ninth, and
    ``test/shrinkage_nN``, by what factor signed sums come out by least squares. Tables: ``error``,
    $\epsilon$ by the mantissas a and b; ``histogram``; ``sums``; ``logarithm``, $\log_2 x$ and what
    the bits of x are as a number.

    Post: https://kexue.fm/archives/7991. Paper: Mitchell, Computer Multiplication and Division
    Using Binary Logarithms, https://doi.org/10.1109/TEC.1962.5219391.

    Args:
        arithmetic: whose products.
        lengths: n, terms of the sums.
        sums: sums of each length for a thousand pairs.
        seed: of the draws.

    Raises:
        ValueError: no length, or a number below 1.
    """

    def __init__(
        self,
        arithmetic: Arithmetic,
        lengths: Sequence[int] = (1, 4, 16, 64, 256, 1024),
        sums: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        some(lengths=lengths)
        at_least(1, lengths=lengths, sums=sums)
        self.arithmetic, self.lengths, self.sums = arithmetic, sorted(set(lengths)), sums
        self.add_total("histogram", len(LAWS), BINS)
        self.add_total("error", len(LAWS))
        self.add_total("product", 2)
        self.add_total("least", join="min")
        self.add_total("most", join="max")
        self.add_total("beyond", len(SIGNS), len(self.lengths))
        self.add_total("fit", len(SIGNS), len(self.lengths), 3)
        self.add_total("vectors")

    def draw(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """Return what ``count`` pairs of each law contribute, and sums of normal pairs."""
        out = {name: torch.zeros_like(self.totals[name]) for name in self._joins if name != "draws"}
        ranges = []
        for place, law in enumerate(LAWS):
            draw = torch.rand if law == "uniform" else torch.randn
            x, y = draw(2, count, generator=generator, device=self.device)
            if law == "uniform":
                x, y = 1 + x, 1 + y
            true, found = x.to(self.real) * y, self.arithmetic.multiply(x, y).to(self.real)
            error = (1 - found / true)[true.abs() > 1e-30]
            ranges += [error.min(), error.max()]
            bins = (8 * BINS * error).long().clamp(0, BINS - 1)
            out["histogram"][place] = bins.bincount(minlength=BINS).to(self.real)
            out["error"][place] = error.sum()
            if law == "uniform":
                out["product"] = torch.stack((found.sum(), true.sum()))
        out["least"], out["most"] = min(ranges), max(ranges)
        vectors = max(1, count * self.sums // 1000)
        out["vectors"] += vectors
        for column, n in enumerate(self.lengths):
            for start in range(0, vectors, step := max(1, HELD // n)):
                rows = min(step, vectors - start)
                x, y = torch.randn(2, rows, n, generator=generator, device=self.device)
                for row, (a, b) in enumerate(((x, y), (x.abs(), y.abs()))):
                    true = (a.to(self.real) * b).sum(-1)
                    found = self.arithmetic.multiply(a, b).to(self.real).sum(-1)
                    missed = (found - true).abs()
                    out["beyond"][row, column] += (missed > true.abs() * (1 / 9 + 1e-6)).sum()
                    parts = (found * true, true.square(), missed.square())
                    out["fit"][row, column] += torch.stack([part.sum() for part in parts])
        return out

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return the errors; record the rows of the figures."""
        draws, vectors = int(totals["draws"]), float(totals["vectors"])
        found, true = totals["product"].tolist()
        metrics = {
            "min_error": float(totals["least"]),
            "max_error": float(totals["most"]),
            "mean_error": float(totals["error"][0]) / draws,
            "mean_ratio": found / true,
        }
        for (row, sign), (column, n) in itertools.product(
            enumerate(SIGNS), enumerate(self.lengths)
        ):
            both, square, missed = totals["fit"][row, column].tolist()
            beyond = float(totals["beyond"][row, column]) / vectors
            metrics[f"beyond_{sign}_n{n}"] = beyond
            if sign == "signed":
                metrics[f"shrinkage_n{n}"] = both / square
            line = {"sign": sign, "n": n, "beyond": beyond, "error": math.sqrt(missed / square)}
            self.record_rows("sums", [line])
        for law, counts in zip(LAWS, totals["histogram"], strict=True):
            for place, share in enumerate((counts / draws).tolist()):
                line = {
                    "law": law,
                    "error": (place + 0.5) / (8 * BINS),
                    "density": 8 * BINS * share,
                }
                self.record_rows("histogram", [line])
        self._record_formulas()
        return metrics

    def _record_formulas(self) -> None:
        """What needs no draws: the error by mantissas, and the logarithm."""
        points = torch.linspace(0, 1, GRID)[:-1]
        error = self.surface(points, points)
        for i, j in itertools.product(range(len(points)), repeat=2):
            line = {"a": float(points[i]), "b": float(points[j]), "error": float(error[i, j])}
            self.record_rows("error", [line])
        x = torch.linspace(1, 8, 113)
        for name, values in (("exact", x.log2()), ("bits", log2(x))):
            rows = zip(x.tolist(), values.tolist(), strict=True)
            self.record_rows("logarithm", [{"kind": name, "x": a, "log": b} for a, b in rows])

    def surface(self, a: Float[Tensor, " n"], b: Float[Tensor, " m"]) -> Float[Tensor, "n m"]:
        r"""Return $\epsilon$ of $(1 + a)(1 + b)$."""
        x, y = 1 + a[:, None], 1 + b
        return 1 - self.arithmetic.multiply(x, y).double() / (x.double() * y)
