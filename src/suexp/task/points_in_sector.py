"""Probability that n random points of a disc lie in one sector (https://kexue.fm/archives/9324)."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from suexp.errors import at_least, between
from suexp.task import _sector as sector
from suexp.task._proportion import clopper_pearson, wilson
from suexp.task.estimation import EstimationTask

Formula = Literal["inclusion_exclusion", "single_term", "exact_rational", "wendel"]
Sampler = Literal["disc", "disc_rejection", "circle", "ball"]
Interval = Literal["wilson", "exact"]
FORMULAS: dict[str, Callable[[int, Fraction], Fraction]] = {
    "inclusion_exclusion": sector.inclusion_exclusion,
    "single_term": sector.single_term,
    "exact_rational": sector.exact_rational,
}
INTERVALS: dict[str, Callable[..., Any]] = {"wilson": wilson, "exact": clopper_pearson}


class PointsInSector(EstimationTask):
    r"""Do n uniform points of a disc lie in some sector of central angle $\theta$?

    With $x = 1-\theta/2\pi$ they do iff the longest arc between neighbours is at least $2\pi x$, so

    $$P(n, \theta) = \sum_{k \ge 1,\; kx < 1} (-1)^{k-1} \binom nk (1-kx)^{n-1},$$

    of which only $n(\theta/2\pi)^{n-1}$ is left for $\theta \le \pi$: the four ducks of a round
    pond are in one half of it with probability 1/2. Angles are rational parts of a turn and the
    formula is computed in rationals. The same draws of n points (B, n, 2) serve all angles: the
    intervals of one n are valid one by one, but not independent of each other.

    Metrics: ``rms_z``, ``rms_z_le_pi``, ``rms_z_gt_pi`` and ``max_abs_z`` of
    $z = (\hat p - P)/\sqrt{P(1-P)/N}$ over the cells with $N P (1-P) \ge 10$ (a formula that leaves
    [0, 1] has no variance: the observed one stands in), ``bonferroni_p`` of the largest,
    ``coverage`` of the intervals, ``misses_where_certain`` (draws that contradict P = 1),
    ``max_gap_error`` and ``max_gap_z`` of the mean longest arc against $H_n/n$, ``theory_valid``.

    Post: https://kexue.fm/archives/9324. Paper: J. G. Wendel, A Problem in Geometric Probability,
    Mathematica Scandinavica 11 (1962), 109-111.

    Args:
        num_points: the values of n.
        angles_deg: the central angles, in (0, 360].
        formula: ``inclusion_exclusion``; ``single_term`` (its first term); ``exact_rational`` (the
            same law by a recursion of positive terms, as a reference); ``wendel`` (half-balls).
        sampler: ``disc`` (polar), ``disc_rejection`` (out of a square), ``circle``, or ``ball``.
        dim: of the ball; from 3 on the only sector is the half, 180 degrees.
        ci: ``wilson`` or ``exact`` (Clopper and Pearson).
        confidence: of the intervals.
        chunk: most coordinates held at once; it bounds memory.
        seed: of the draws.

    Raises:
        ValueError: an angle, a number of points or a combination that has no meaning.
    """

    def __init__(
        self,
        num_points: Sequence[int] = (2, 3, 4, 5, 8, 12),
        angles_deg: Sequence[int | float] = (60, 120, 180, 210, 240, 270, 300, 330),
        formula: Formula = "inclusion_exclusion",
        sampler: Sampler = "disc",
        dim: int = 2,
        ci: Interval = "wilson",
        confidence: float = 0.95,
        chunk: int = 1_000_000,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        between("(0, 1)", confidence=confidence)
        at_least(1, chunk=chunk)
        _refuse(num_points, angles_deg, formula, sampler, dim, ci)
        self.num_points, self.angles_deg = list(num_points), list(angles_deg)
        self.formula, self.sampler, self.dim, self.chunk = formula, sampler, dim, chunk
        self.ci, self.confidence = ci, confidence
        self.turns = [_turn(angle) for angle in angles_deg]
        self.theory = [[self.probability(n, turn) for turn in self.turns] for n in num_points]
        # Further angles, for the figure; beyond the plane the half is the only sector.
        self.grid = list(range(15, 361, 15)) if dim == 2 and formula != "wendel" else []
        cells = (len(num_points), len(angles_deg))
        self.add_total("hits", *cells, dtype=torch.int64)
        self.add_total("grid_hits", len(num_points), len(self.grid), dtype=torch.int64)
        self.add_total("arc", len(num_points))
        self.add_total("arc_squared", len(num_points))
        # What the totals were after 1, 2, 4, 8, ... batches, for the error against N.
        self.add_total("trace_hits", 40, *cells, dtype=torch.int64)
        self.add_total("trace_draws", 40, dtype=torch.int64)

    def probability(self, n: int, turn: Fraction) -> Fraction:
        """Return what the chosen formula says of n points and this part of a turn, exactly."""
        if self.formula == "wendel":
            return sector.wendel(n, self.dim)
        return FORMULAS[self.formula](n, turn)

    def points(self, count: int, n: int, generator: Generator) -> Float[Tensor, "count n dim"]:
        """Draw sets of n points of the disc or ball."""
        shape = (count, n)
        if self.sampler == "ball":
            return sector.ball(shape, self.dim, self.real, generator)
        if self.sampler == "disc_rejection":
            return sector.disc_rejection(shape, self.real, generator)
        return sector.disc(shape, self.real, generator)

    def draw(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """Add hits (n, theta) and the longest arcs of ``count`` draws for each n."""
        names = ("hits", "grid_hits", "arc", "arc_squared")
        out = {name: torch.zeros_like(self.totals[name]) for name in names}
        limits, grid_limits = self._limits(self.turns), self._limits(map(_turn, self.grid))
        for row, n in enumerate(self.num_points):
            # In three dimensions every pair's plane is held against every point.
            width = n * self.dim * (n * n if self.dim > 2 else 1)
            step = max(1, self.chunk // width)
            for start in range(0, count, step):
                size = min(step, count - start)
                if self.dim > 2:
                    out["hits"][row] += sector.in_half_space(self.points(size, n, generator)).sum()
                    continue
                if self.sampler == "circle":
                    angles = sector.uniform((size, n), self.real, generator)
                else:
                    angles = sector.angles_of(self.points(size, n, generator))
                longest = sector.longest_arc(angles)
                out["hits"][row] += (longest[:, None] >= limits).sum(dim=0)
                out["grid_hits"][row] += (longest[:, None] >= grid_limits).sum(dim=0)
                out["arc"][row] += longest.sum()
                out["arc_squared"][row] += longest.square().sum()
        return out

    def _limits(self, turns: Iterable[Fraction]) -> Tensor:
        """Return how long the longest arc must be for each of these sectors."""
        limits = torch.tensor([float(1 - turn) for turn in turns], dtype=self.real)
        return limits.to(self.device)

    def test_step(self, batch: dict[str, Int[Tensor, " b"]], batch_idx: int) -> None:
        """Draw, and keep the totals after 1, 2, 4, ... batches."""
        before = self.batches_done
        super().test_step(batch, batch_idx)
        if self.batches_done > before and self.batches_done.bit_count() == 1:
            level = self.batches_done.bit_length() - 1
            self.totals["trace_hits"][level] = self.totals["hits"]
            self.totals["trace_draws"][level] = self.totals["draws"]

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return the agreement of estimate and theory; record the tables of the figures."""
        draws, cells = int(totals["draws"]), []
        for row, n in enumerate(self.num_points):
            low, high = INTERVALS[self.ci](totals["hits"][row].numpy(), draws, self.confidence)
            for column, angle in enumerate(self.angles_deg):
                hits = int(totals["hits"][row, column])
                cells.append(
                    {
                        "n": n,
                        "theta": angle,
                        "estimate": hits / draws,
                        "lower": float(low[column]),
                        "upper": float(high[column]),
                        "theory": float(self.theory[row][column]),
                        "single_term": float(sector.single_term(n, self.turns[column])),
                        "misses": draws - hits,
                    }
                )
        self.record_rows("cells", cells)
        self._record_error(totals)
        self._record_curves(totals["grid_hits"], draws)
        self._record_ducks()
        return self._agreement(cells, draws) | self._arcs(totals, draws)

    def _agreement(self, cells: list[dict[str, Any]], draws: int) -> dict[str, float]:
        scored = []
        for cell in cells:
            p = cell["theory"] if cell["theory"] < 1 else cell["estimate"]
            # A certain cell has no variance; it is judged by its misses.
            if cell["theory"] != 1 and draws * p * (1 - p) >= 10:
                z = (cell["estimate"] - cell["theory"]) / math.sqrt(p * (1 - p) / draws)
                scored.append((cell["theta"], z))
        covered = [c["lower"] <= c["theory"] <= c["upper"] for c in cells]
        misses = sum(c["misses"] for c in cells if c["theory"] == 1)
        right = self.formula == "wendel" or (
            self.dim == 2 and (self.formula != "single_term" or max(self.turns) <= sector.HALF)
        )
        metrics = {
            "coverage": sum(covered) / len(covered),
            "misses_where_certain": float(misses),
            "theory_valid": float(right),
            "cells": float(len(cells)),
            "cells_scored": float(len(scored)),
        }
        for name, chosen in (
            ("rms_z", [z for _, z in scored]),
            ("rms_z_le_pi", [z for theta, z in scored if theta <= 180]),
            ("rms_z_gt_pi", [z for theta, z in scored if theta > 180]),
        ):
            if chosen:
                metrics[name] = math.sqrt(sum(z * z for z in chosen) / len(chosen))
        if scored:
            worst = max(abs(z) for _, z in scored)
            metrics["max_abs_z"] = worst
            metrics["bonferroni_p"] = min(1.0, len(scored) * math.erfc(worst / math.sqrt(2)))
        return metrics

    def _arcs(self, totals: dict[str, Tensor], draws: int) -> dict[str, float]:
        if self.dim > 2 or draws < 2:
            return {}
        errors, scores = [], []
        for row, n in enumerate(self.num_points):
            mean = float(totals["arc"][row]) / draws
            spread = float(totals["arc_squared"][row]) / draws - mean * mean
            errors.append(abs(mean - sum(1 / j for j in range(1, n + 1)) / n))
            if n > 1:
                scores.append(errors[-1] / math.sqrt(spread / (draws - 1)))
        return {"max_gap_error": max(errors), "max_gap_z": max(scores, default=0.0)}

    def _record_error(self, totals: dict[str, Tensor]) -> None:
        """Root mean square error over the cells after N draws, and the one that theory expects."""
        theory = torch.tensor([[float(p) for p in row] for row in self.theory], dtype=torch.float64)
        for level, count in enumerate(totals["trace_draws"].tolist()):
            if count:
                error = totals["trace_hits"][level] / count - theory
                variance = (theory * (1 - theory)).clamp_min(0) / count
                self.record_rows(
                    "error",
                    [
                        {
                            "draws": count,
                            "rms_error": float(error.square().mean().sqrt()),
                            "expected": float(variance.mean().sqrt()),
                        }
                    ],
                )

    def _record_curves(self, hits: Tensor, draws: int) -> None:
        """Estimate, law and first term on a grid of 15 degrees."""
        for (row, n), (column, angle) in itertools.product(
            enumerate(self.num_points), enumerate(self.grid)
        ):
            cell = {
                "n": n,
                "theta": angle,
                "estimate": int(hits[row, column]) / draws,
                "theory": float(self.probability(n, _turn(angle))),
            }
            self.record_rows("curves", [cell])

    def _record_ducks(self) -> None:
        """Four ducks of a round pond that one half holds, that half, and the rest of the shore."""
        if self.dim > 2:
            return
        generator = torch.Generator().manual_seed(self.seed)
        ponds = sector.disc((64, 4), torch.float64, generator)
        angles = sector.angles_of(ponds)
        found = int((sector.longest_arc(angles) >= 0.5).nonzero()[0])
        # The half begins at the duck that has no other in the half turn before it.
        ahead = (angles[found][:, None] - angles[found]) % 1
        start = float(angles[found][((ahead == 0) | (ahead > 0.5)).all(dim=1)][0])
        shore = torch.arange(120) / 120
        edge = torch.stack([(shore * math.tau).cos(), (shore * math.tau).sin()], dim=-1)
        inside = (shore - start) % 1 <= 0.5
        end = torch.tensor([math.cos(start * math.tau), math.sin(start * math.tau)])
        diameter = torch.linspace(-1, 1, 40)[:, None] * end
        for what, points in (
            ("shore", edge[~inside]),
            ("half of the pond", torch.cat([edge[inside], diameter])),
            ("duck", ponds[found]),
        ):
            rows = [{"what": what, "x": x, "y": y} for x, y in points.tolist()]
            self.record_rows("ducks", rows)


def _turn(angle_deg: int | float) -> Fraction:
    """Return the part of a turn, by its decimal digits: 0.1 degrees are exactly 1/3600."""
    return Fraction(str(angle_deg)) / 360


def _refuse(
    num_points: Sequence[int],
    angles_deg: Sequence[int | float],
    formula: str,
    sampler: str,
    dim: int,
    ci: str,
) -> None:
    for value, known in ((formula, Formula), (sampler, Sampler), (ci, Interval)):
        if value not in get_args(known):
            raise ValueError(f"{value!r} is none of {', '.join(get_args(known))}")
    if not angles_deg or not all(0 < angle <= 360 for angle in angles_deg):
        raise ValueError(f"central angle must be in (0, 360] degrees, got {list(angles_deg)}")
    if not num_points or min(num_points) < 1:
        raise ValueError(f"num_points must be at least 1, got {list(num_points)}")
    half_only = all(angle == 180 for angle in angles_deg)
    if formula == "wendel" and not half_only:
        raise ValueError("formula=wendel is about halves; use angles_deg=[180]")
    at_least(2, dim=dim)
    if dim > 2 and not half_only:
        raise ValueError(f"in dim={dim} the only sector is the half; use angles_deg=[180]")
    if dim > 2 and sampler != "ball":
        raise ValueError(f"sampler={sampler} is flat; use sampler=ball for dim={dim}")
