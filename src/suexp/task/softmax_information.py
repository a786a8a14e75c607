"""How much a softmax's scores say: entropy against their size (https://kexue.fm/archives/9593)."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from suexp.errors import at_least, between, some
from suexp.task.estimation import EstimationTask


def entropy(scores: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
    r"""Return $H = \log \sum_i e^{s_i} - \sum_i p_i s_i$ of the softmax of scores."""
    log_p = scores.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def specht(tau: float) -> float:
    r"""Return $\log S(e^{2/\tau})$, $S(h) = (h - 1) h^{1/(h-1)} / (e \log h)$: Specht's ratio.

    No softmax over n scores in $[-1/\tau, 1/\tau]$ has less entropy than $\log n$ less this.
    """
    x = 2 / tau
    rest = math.exp(-x)
    return x + math.log1p(-rest) + x * rest / (1 - rest) - 1 - math.log(x)


def least_entropy(n: int, tau: float) -> float:
    r"""Return the least entropy of a softmax over n scores in $[-1/\tau, 1/\tau]$.

    In one score alone the entropy rises and then falls, $\partial H/\partial s_i = -p_i (\log p_i +
    H)$, so the least has every score at an end; all numbers k of scores at the upper end are tried.
    """
    k = torch.arange(1, n + 1, dtype=torch.float64)
    low = math.exp(-2 / tau)  # a lower score's weight, an upper one's being 1
    total = k + (n - k) * low
    return float((total.log() + (n - k) * low * (2 / tau) / total).min())


class SoftmaxInformation(EstimationTask):
    r"""$\log n - H$ of $p_i \propto e^{s_i}$: what training could still gain from p, in nats.

    Normal scores: for $s_i \sim N(0, \sigma^2)$ the information tends to $\sigma^2 / 2$ while
    $\sigma < \sqrt{2 \log n}$; beyond, the softmax is nearly one-hot, and H = O(1) (the random
    energy model's freezing). ``information_s{sigma}_n{n}``; table ``normal`` with ``entropy`` and
    the ``expected`` $\max(0, \log n - \sigma^2/2)$.

    Cosines: scores in $[-1/\tau, 1/\tau]$ leave $H \ge \log n - \log S(e^{2/\tau})$ with Specht's
    ratio S: at $\tau = 1$ at most 0.4745 nats can be gained. A sample tries vectors of n cosines,
    uniform and two-valued ones, against the least entropy that `least_entropy` finds:
    ``margin_tau{tau}`` is the least excess over it of any sample and n (never below 0), and
    ``gain_tau{tau}`` the most information that was found. Table ``band``: least and largest
    ``entropy`` by ``tau`` and ``n``, and the same by ``what``.

    References: https://kexue.fm/archives/9593; Derrida, Random-energy model,
    https://doi.org/10.1103/PhysRevB.24.2613; Specht, Zur Theorie der elementaren Mittel,
    https://doi.org/10.1007/BF01180475.

    Args:
        sigmas: standard deviations of normal scores.
        num_keys: numbers n of these.
        taus: temperatures of cosines.
        num_candidates: numbers n of cosines.
        tries: vectors of cosines a sample, half of them uniform.
        chunk: numbers in a tensor at once; it bounds memory.
        seed: of the draws.

    Raises:
        ValueError: a list that is empty, or something in it that is not positive.
    """

    def __init__(
        self,
        sigmas: Sequence[int | float] = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0),
        num_keys: Sequence[int] = (64, 1024, 16384),
        taus: Sequence[int | float] = (0.05, 0.1, 0.2, 0.5, 1.0),
        num_candidates: Sequence[int] = (10, 100, 1000),
        tries: int = 20,
        chunk: int = 4_000_000,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        some(sigmas=sigmas, num_keys=num_keys, taus=taus, num_candidates=num_candidates)
        between("(0, inf)", sigmas=sigmas, taus=taus)
        at_least(1, num_keys=num_keys, num_candidates=num_candidates)
        at_least(1, tries=tries, chunk=chunk)
        self.sigmas, self.num_keys = list(sigmas), list(num_keys)
        self.taus, self.num_candidates = list(taus), list(num_candidates)
        self.tries, self.chunk = tries, chunk
        self.add_total("entropy", len(self.sigmas), len(self.num_keys))
        self.add_total("margin", len(self.taus), len(self.num_candidates), join="min")

    def draw(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """Add the entropies of ``count`` vectors of scores, and look for a smaller one."""
        out = {
            "entropy": torch.zeros_like(self.totals["entropy"]),
            "margin": torch.full_like(self.totals["margin"], math.inf),
        }
        for column, n in enumerate(self.num_keys):
            step = max(1, self.chunk // n)
            for start in range(0, count, step):
                z = self._normal(min(step, count - start), n, generator)
                for row, sigma in enumerate(self.sigmas):
                    out["entropy"][row, column] += entropy(sigma * z).sum()
        for column, n in enumerate(self.num_candidates):
            step = max(1, self.chunk // n)
            for start in range(0, count * self.tries, step):
                cosines = self.cosines(min(step, count * self.tries - start), n, generator)
                for row, tau in enumerate(self.taus):
                    excess = entropy(cosines / tau).min() - least_entropy(n, tau)
                    out["margin"][row, column] = torch.minimum(out["margin"][row, column], excess)
        return out

    def _normal(self, count: int, n: int, generator: Generator) -> Tensor:
        return torch.randn(count, n, generator=generator, dtype=self.real, device=self.device)

    def cosines(self, count: int, n: int, generator: Generator) -> Float[Tensor, "count n"]:
        """Draw vectors in [-1, 1]: every other one has random shares at the two ends."""
        kind: Any = {"generator": generator, "dtype": self.real, "device": self.device}
        uniform = torch.rand(count, n, **kind) * 2 - 1
        # Shares of the upper end that differ by orders of magnitude.
        share = torch.rand(count, 1, **kind).pow(8)
        ends = torch.where(torch.rand(count, n, **kind) < share, 1.0, -1.0).to(uniform.dtype)
        return torch.where(torch.arange(count, device=self.device)[:, None] % 2 == 0, uniform, ends)

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return information and margins; record the rows of the figures."""
        metrics = {}
        draws = int(totals["draws"])
        for (row, sigma), (column, n) in itertools.product(
            enumerate(self.sigmas), enumerate(self.num_keys)
        ):
            mean = float(totals["entropy"][row, column]) / draws
            metrics[f"information_s{sigma:g}_n{n}"] = math.log(n) - mean
            cell = {
                "sigma": sigma,
                "n": n,
                "entropy": mean,
                "expected": max(0.0, math.log(n) - sigma**2 / 2),
                "freezing": math.sqrt(2 * math.log(n)),
            }
            self.record_rows("normal", [cell])
        for row, tau in enumerate(self.taus):
            margins = totals["margin"][row]
            metrics[f"margin_tau{tau:g}"] = float(margins.min())
            metrics[f"bound_tau{tau:g}"] = specht(tau)
            found = []
            for n, margin in zip(self.num_candidates, margins.tolist(), strict=True):
                least = least_entropy(n, tau)
                found.append(math.log(n) - least - margin)
                band = {"least": least, "largest": math.log(n)}
                rows = [
                    {"tau": tau, "n": n, "what": what, "entropy": value}
                    for what, value in band.items()
                ]
                self.record_rows("band", rows)
            metrics[f"gain_tau{tau:g}"] = max(found)
        return metrics
