"""How the entropy of a softmax grows with the number of scores, under several scales."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from suexp.errors import some
from suexp.task.estimation import EstimationTask

REFERENCE = 512  # the length at which the rules agree
RULES: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "sqrt_log": lambda n: (math.log(n) / math.log(REFERENCE)) ** 0.5,
    "log": lambda n: math.log(n) / math.log(REFERENCE),
    "natural_log": math.log,
}
BINS = 1000  # of a norm between 0 and 1
FAMILIES = ("sphere", "gaussian", "sphere_untrained", "uniform", "needle")


class SoftmaxEntropy(EstimationTask):
    r"""$H(n)$ of $p = \mathrm{softmax}(r(n) \lambda s)$ for scores s of several kinds, n of them.

    Rules r: constant 1, $\sqrt{\log_{512} n}$, $\log_{512} n$, and $\log n$. Families $\lambda s$:

    - sphere: $\lambda q \cdot k$, norms $\sqrt d$, k uniform, $\lambda = \log 512 / (0.24 d)$;
    - sphere_untrained: the same with $\lambda = 1 / \sqrt d$;
    - gaussian: 3 N(0, 1); uniform: on [-3, 3];
    - needle: 1.5 times uniform noise on [0, 1], with one score 4 higher.

    Logged: ``test/slope_FAMILY_RULE``, the least-squares slope of the mean entropy in log n: 1
    where attention dilutes, 0 where it is invariant; ``test/bound_violations``, how many scores had
    $H < \log n - (s_{max} - \bar s)$ (by more than 1e-9: none should); ``test/jacobian_RULE``, the
    median Frobenius norm of $\mathrm{diag}(p) - p p^\top$ for 1024 gaussian scores, to 0.001;
    ``test/spherical_rate``, $(\log n - H) / (\lambda d)$ on the sphere at $\lambda = 1$, by
    quadrature, and ``test/spherical_rate_max``, the greatest for any $\lambda$. The table
    ``entropy`` has the means by family, rule and n.

    References: https://kexue.fm/archives/9034, https://kexue.fm/archives/8823; Chiang and Cholak,
    arXiv:2202.12172.

    Args:
        lengths: n, in tokens.
        dim: d of the spheres.
        families: kinds of scores.
        seed: of the draws.

    Raises:
        ValueError: fewer than two lengths, one below 2, a dim below 3, an unknown family.
    """

    def __init__(
        self,
        lengths: Sequence[int] = (64, 128, 256, 512, 1024, 2048, 4096),
        dim: int = 64,
        families: Sequence[str] = FAMILIES,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        if len(set(lengths)) < 2 or min(lengths) < 2 or dim < 3:
            raise ValueError("two lengths of 2 or more, and a dim of 3 or more")
        some(families=families)
        for family in families:
            if family not in FAMILIES:
                raise ValueError(f"families are {', '.join(FAMILIES)}, not {family!r}")
        self.lengths, self.dim, self.families = sorted(set(lengths)), dim, list(families)
        self.add_total("entropy", len(families), len(RULES), len(self.lengths))
        self.add_total("jacobian", len(RULES), BINS)
        self.add_total("violations")

    def draw(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """Return sums over ``count`` queries."""
        out = {name: torch.zeros_like(self.totals[name]) for name in self._joins if name != "draws"}
        for i, family in enumerate(self.families):
            scores = self.scores(family, count, self.lengths[-1], generator)
            for k, n in enumerate(self.lengths):
                for j, rule in enumerate(RULES.values()):
                    z = rule(n) * scores[:, :n]
                    entropy = entropy_of(z)
                    bound = math.log(n) - (z.amax(-1) - z.mean(-1))
                    out["entropy"][i, j, k] = entropy.sum()
                    out["violations"] += (entropy < bound - 1e-9).sum()
        scores = self.scores("gaussian", count, 1024, generator)
        for j, rule in enumerate(RULES.values()):
            norms = (BINS * jacobian_norm(rule(1024) * scores)).long().clamp(max=BINS - 1)
            out["jacobian"][j] = norms.bincount(minlength=BINS).to(out["jacobian"])
        return out

    def scores(self, family: str, count: int, n: int, generator: Generator) -> Float[Tensor, "c n"]:
        """Draw rows of scores, the needle first."""
        like: dict[str, Any] = {"generator": generator, "dtype": self.real, "device": self.device}
        if family in ("uniform", "needle"):
            noise = torch.rand(count, n, **like)
            if family == "uniform":
                return 6 * noise - 3
            noise[:, 0] = noise[:, 1:].mean(-1) + 4
            return 1.5 * noise
        if family == "gaussian":
            return 3 * torch.randn(count, n, **like)
        # The cosine of a random direction with a fixed one: one coordinate over the whole norm.
        first = torch.randn(count, n, **like)
        shape = torch.tensor((self.dim - 1) / 2, dtype=self.real, device=self.device)
        rest = 2 * torch._standard_gamma(shape.expand(count, n), generator)  # chi-squared
        cosine = first / (first.square() + rest).sqrt()
        size = self.dim**0.5 if family == "sphere_untrained" else math.log(REFERENCE) / 0.24
        return size * cosine

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return slopes, norms and the spherical rate; record the means."""
        draws = int(totals["draws"])
        mean = totals["entropy"] / draws
        log = torch.tensor(self.lengths, dtype=torch.float64).log()
        centred = log - log.mean()
        metrics = {
            "bound_violations": float(totals["violations"]),
            "spherical_rate": spherical_rate(self.dim, 1.0),
            "spherical_rate_max": max(spherical_rate(self.dim, x / 50) for x in range(1, 151)),
        }
        for i, family in enumerate(self.families):
            for j, rule in enumerate(RULES):
                slope = (centred * mean[i, j]).sum() / centred.square().sum()
                metrics[f"slope_{family}_{rule}"] = float(slope)
                for n, value in zip(self.lengths, mean[i, j].tolist(), strict=True):
                    row = {"family": family, "rule": rule, "n": n, "entropy": value}
                    self.record_rows("entropy", [row])
        for rule, counts in zip(RULES, totals["jacobian"], strict=True):
            middle = int((counts.cumsum(0) < draws / 2).sum())
            metrics[f"jacobian_{rule}"] = (middle + 0.5) / BINS
        return metrics


def entropy_of(z: Float[Tensor, "c n"]) -> Float[Tensor, " c"]:
    r"""Return $\log \sum e^z - \sum p z$, in nats."""
    return z.logsumexp(-1) - (z.softmax(-1) * z).sum(-1)


def jacobian_norm(z: Float[Tensor, "c n"]) -> Float[Tensor, " c"]:
    r"""Return $|\mathrm{diag}(p) - p p^\top|_F$, without forming the matrix."""
    p = z.softmax(-1)
    second, third = p.square().sum(-1), p.pow(3).sum(-1)
    return (second - 2 * third + second.square()).clamp(min=0).sqrt()


def spherical_rate(dim: int, strength: float) -> float:
    r"""Return $(\log n - H) / (\lambda d)$ for many keys spread evenly on a sphere.

    $\log n - H = \lambda d\, E[c\, e^{\lambda d c}] / E[e^{\lambda d c}] - \log E[e^{\lambda d c}]$
    with the cosine's density $(1 - c^2)^{(d - 3) / 2}$ and $\lambda$ the strength.
    """
    c = torch.linspace(-1, 1, 20001, dtype=torch.float64)[1:-1]
    density = (0.5 * (dim - 3) * torch.log1p(-c.square())).log_softmax(-1)
    tilted = density + strength * dim * c
    log = tilted.logsumexp(-1)
    return float(((tilted - log).exp() * c).sum() - log / (strength * dim))
