"""Where Taylor polynomials of exp are positive (https://kexue.fm/archives/7919)."""

import itertools
import math
from collections.abc import Sequence

import torch
from scipy.optimize import brentq
from torch import Generator, Tensor

from suexp.attention.taylor import taylor_exp
from suexp.normalizer.taylor import HIGHEST, log_taylor
from suexp.task.estimation import EstimationTask

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FORMS = ("horner", "roots")


def polynomial(x: float, order: int) -> float:
    r"""Return $f_n(x) = \sum_{k \le n} x^k / k!$ in Python's own numbers."""
    result = 1.0
    for k in range(order, 0, -1):
        result = 1 + x * result / k
    return result


def lowest_place(order: int) -> float:
    r"""Return where f_n, n even, has its one minimum: the zero of $f_{n-1} = f_n'$."""
    return float(brentq(polynomial, -order, 0, args=(order - 1,), xtol=1e-13))


class TaylorEstimation(EstimationTask):
    r"""Least values of $f_n(x) = \sum_{k \le n} x^k / k!$ for x uniform in [-reach, reach].

    At an extremum $f_n' = f_{n-1} = 0$, so that there $f_n(x) = x^n/n!$: for even n, whose ends
    both go up, f_n is positive; for odd n it has a zero. The theory's minimum is $x_*^n/n!$ with
    the zero $x_*$ of $f_{n-1}$. Draws x (count,) are shared by all orders.

    Metrics, for each order: ``min_n{n}``, the least value that was met, in float64; for even
    orders ``min_n{n}_{precision}`` by Horner's rule in float32, bfloat16 and float16, at x rounded
    to it. Over all orders: ``min_even``, the least value of an even order;
    ``max_min_odd``, the greatest of the odd orders' least values; ``min_error``, the largest
    difference between draws and theory; ``error_{form}_{precision}``, the greatest relative error
    in an even order's values: of ``horner``, and of ``roots``, the product over the roots in
    float32 by which normalizer=taylor computes; ``overflow_{precision}``, the share of values by
    Horner's rule that are infinite, which do not count as errors.

    Post: https://kexue.fm/archives/7919. Paper: Banerjee et al., Exploring Alternatives to Softmax
    Function, https://arxiv.org/abs/2011.11538.

    Args:
        orders: the values of n, at least 1 and at most 30.
        reach: the largest |x|.
        chunk: most numbers in a tensor at once; it bounds memory.
        seed: of the draws.

    Raises:
        ValueError: an order out of range, no even or no odd one, a reach or chunk not above 0.
    """

    def __init__(
        self,
        orders: Sequence[int] = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20),
        reach: float | int = 20.0,
        chunk: int = 1_000_000,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        if not all(1 <= order <= HIGHEST for order in orders):
            raise ValueError(f"orders must lie in 1 to {HIGHEST}, got {list(orders)}")
        if len({order % 2 for order in orders}) < 2:
            raise ValueError(f"orders must have an even and an odd one, got {list(orders)}")
        if not reach > 0 or chunk < 1:
            raise ValueError(f"reach must be above 0 and chunk at least 1, got {reach} and {chunk}")
        self.orders, self.reach, self.chunk = list(orders), float(reach), chunk
        self.even = [order for order in self.orders if order % 2 == 0]
        cells = (len(self.even), len(PRECISIONS))
        self.add_total("least", len(self.orders), join="min")
        self.add_total("least_rounded", *cells, join="min")
        self.add_total("error", *cells, len(FORMS), join="max")
        self.add_total("overflow", *cells)

    def draw(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """Evaluate every order at ``count`` draws."""
        out = {name: total.clone() for name, total in self.totals.items() if name != "draws"}
        out["overflow"].zero_()
        for start in range(0, count, self.chunk):
            size = min(self.chunk, count - start)
            unit = torch.rand(size, generator=generator, dtype=self.real, device=self.device)
            x = self.reach * (2 * unit - 1)
            least = torch.stack([taylor_exp(x, order).min() for order in self.orders])
            out["least"] = torch.minimum(out["least"], least)
            for (row, order), (column, precision) in itertools.product(
                enumerate(self.even), enumerate(PRECISIONS.values())
            ):
                self._round(out, row, column, x.to(precision), order)
        return out

    def _round(self, out: dict[str, Tensor], row: int, column: int, x: Tensor, order: int) -> None:
        """Compare arithmetic in few bits with that in many, at the same numbers."""
        exact = taylor_exp(x.to(self.real), order)
        rounded = taylor_exp(x, order).to(self.real)
        finite = rounded.isfinite()
        by_roots = log_taylor(x.float(), order).exp().to(self.real)
        for form, values in enumerate((rounded.where(finite, exact), by_roots)):
            error = (values / exact - 1).abs().max()
            out["error"][row, column, form] = torch.maximum(out["error"][row, column, form], error)
        out["least_rounded"][row, column] = torch.minimum(
            out["least_rounded"][row, column], rounded.where(finite, torch.inf).min()
        )
        out["overflow"][row, column] += (~finite).sum()

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return the least values and the errors; record the rows of the figures."""
        least = dict(zip(self.orders, totals["least"].tolist(), strict=True))
        metrics = {f"min_n{order}": value for order, value in least.items()}
        theory = {n: lowest_place(n) ** n / math.factorial(n) for n in self.even}
        metrics["min_even"] = min(least[n] for n in self.even)
        metrics["max_min_odd"] = max(least[n] for n in self.orders if n % 2)
        metrics["min_error"] = max(abs(least[n] - theory[n]) for n in self.even)
        for (row, order), (column, name) in itertools.product(
            enumerate(self.even), enumerate(PRECISIONS)
        ):
            metrics[f"min_n{order}_{name}"] = float(totals["least_rounded"][row, column])
            for form, error in zip(FORMS, totals["error"][row, column].tolist(), strict=True):
                cell = {"order": order, "precision": name, "form": form, "error": error}
                self.record_rows("precision", [cell | {"how": f"{form}, {name}"}])
        for column, name in enumerate(PRECISIONS):
            worst = totals["error"][:, column].amax(0).tolist()
            metrics |= {f"error_{form}_{name}": e for form, e in zip(FORMS, worst, strict=True)}
            overflown = float(totals["overflow"][:, column].sum())
            metrics[f"overflow_{name}"] = overflown / (int(totals["draws"]) * len(self.even))
        self.record_rows(
            "minimum",
            [
                {"order": n, "least": least[n], "theory": theory[n], "place": lowest_place(n)}
                for n in self.even
            ],
        )
        self._record_curves()
        return metrics

    def _record_curves(self) -> None:
        """Polynomials beside exp, and the probability of one score among three, others 0."""
        for x in (k / 10 for k in range(-60, 31)):
            for n in (1, 2, 3, 4, 6):
                value, exp = polynomial(x, n), math.exp(x)
                row = {"order": n, "x": x, "value": value, "exp": exp, "ratio": value / exp}
                self.record_rows("curve", [row])
        for z in (k / 5 for k in range(-50, 51)):
            weights = {f"taylor {n}": polynomial(z, n) for n in (2, 4, 6)}
            for name, weight in {"softmax": math.exp(z), **weights}.items():
                p = weight / (weight + 2)
                self.record_rows("probability", [{"normalizer": name, "z": z, "p": p}])
