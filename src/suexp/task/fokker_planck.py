"""How a density moves: particles against the Fokker-Planck equation (kexue.fm/archives/9461)."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from suexp.errors import at_least, between, one_of, some
from suexp.task import _density_reference as density
from suexp.task import _sde
from suexp.task._particles import coupled, one_step_residuals
from suexp.task._test_functions import OPERATORS, TestFunctions
from suexp.task.estimation import EstimationTask

SYSTEMS = (
    *("ou", "double_well", "rotation", "contraction", "logistic_flow"),
    *("vp_mixture", "vp_reverse"),
)
PLANE = ("rotation", "vp_mixture", "vp_reverse")
STILL = ("rotation", "contraction", "logistic_flow")  # systems without noise
KNOWN = ("ou", "rotation", "contraction", "vp_mixture", "vp_reverse")  # laws by formula
ORDER = {"euler_maruyama": 1, "heun": 2, "rk4": 4}
MOMENTS = 4  # times at which the density is seen
BINS = 60
PATHS = 12


class FokkerPlanck(EstimationTask):
    r"""Points follow $dx = f\,dt + g\,dw$; does their density obey the equation that it should?

    $\partial_t p = -\nabla\cdot(pf) + \frac12 g^2 \Delta p$, or, for every test function,
    $\frac{d}{dt} E\phi = E[L\phi]$, $L\phi = f\cdot\nabla\phi + \frac12 g^2\Delta\phi$. A sample is
    a particle; all of a batch move at once.

    ``mode=marginal``: particles go to the horizon with each step size, on one Brownian path, and
    their means are held against the density there: a formula's (``closed_form``), a solver's
    (``finite_volume``) or one carried along an ODE (``flow``). Metrics: ``marginal_error``, the
    largest error of a mean with the smallest step; ``cf_error``, that of the characteristic
    function; where the last two sizes are as 2 to 1 the same after extrapolation to step 0,
    ``limit_error`` and ``cf_limit_error``, and ``max_abs_z``, its largest error over its standard
    error; ``shortest_wave`` of the functions tested; and what is known of the reference,
    ``mass_error`` and ``wall_mass``. Tables: ``means``; ``weak``, the root mean
    square error over the functions by step size h; ``monte_carlo``, that of the mean of M
    particles; on the line ``density``, at four times; ``paths`` of twelve particles.

    ``mode=residual``: one step from the law at time 0, see
    `suexp.task._particles.one_step_residuals`. Metrics, of the smallest step: ``abs_residual``,
    mean over the functions of |mean over particles|; ``residual_x2``, that of $|x|^2$. Table
    ``residual``: these by step dt, with their ``standard_error``.

    Post: https://kexue.fm/archives/9461. Reference: Risken, The Fokker-Planck Equation,
    https://doi.org/10.1007/978-3-642-61544-3; the scheme of finite volumes: Scharfetter and Gummel,
    https://doi.org/10.1109/T-ED.1969.16566.

    Args:
        system: ``ou``, ``double_well``, ``vp_mixture`` (three Gaussians of the plane that
            dissolve) and its way back ``vp_reverse``; without noise ``rotation`` of the plane,
            ``contraction``, ``logistic_flow``.
        mode: ``marginal`` or ``residual``.
        integrator: ``euler_maruyama``, ``heun``; ``rk4`` for systems without noise.
        operator: what the density is said to obey: ``fokker_planck``; ``continuity``, without the
            second derivative; ``no_half``, with $g^2$ before it; ``wrong_sign``, residuals only.
        reference: ``closed_form``, ``finite_volume``, ``flow``, or ``auto``, the first that exists.
        estimator: of residuals: ``control``, ``antithetic`` or ``naive``.
        step_sizes: of marginals, multiples of the last.
        residual_steps: dt of residuals, the last the smallest.
        horizon: time at which marginals are compared.
        frequencies: of the waves among the test functions.
        dim: of ``ou`` and ``contraction``.
        noise_level: of ``vp_reverse``; 0: the ODE, 1: the usual SDE.
        score_factor: of ``vp_reverse``; 1/2 is right.
        particle_noise: factor of the particles' noise; the equation keeps the system's.
        group_sizes: M of the table ``monte_carlo``.
        dx: width of a cell of the references.
        dt: step in time of ``finite_volume``.
        seed: of the draws.

    Raises:
        ValueError: a number out of range, an unknown name, an integrator or a reference that the
            system does not allow.
        UserError: particles that leave all bounds.
    """

    def __init__(
        self,
        system: str = "double_well",
        mode: Literal["marginal", "residual"] = "marginal",
        integrator: str = "euler_maruyama",
        operator: str = "fokker_planck",
        reference: str = "auto",
        estimator: str = "control",
        step_sizes: Sequence[float] = (0.2, 0.1, 0.05, 0.025),
        residual_steps: Sequence[float] = (0.1, 0.03, 0.01, 0.003, 0.001),
        horizon: float = 1.0,
        frequencies: Sequence[float] = (1, 2, 3),
        dim: int = 1,
        noise_level: float = 1.0,
        score_factor: float = 0.5,
        particle_noise: float = 1.0,
        group_sizes: Sequence[int] = (100, 300, 1000, 3000),
        dx: float = 0.01,
        dt: float = 0.001,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        one_of(SYSTEMS, system=system)
        one_of(("marginal", "residual"), mode=mode)
        one_of(("euler_maruyama", "heun", "rk4"), integrator=integrator)
        one_of(("fokker_planck", "continuity", "no_half", "wrong_sign"), operator=operator)
        one_of(("auto", "closed_form", "finite_volume", "flow"), reference=reference)
        one_of(("control", "antithetic", "naive"), estimator=estimator)
        some(step_sizes=step_sizes, residual_steps=residual_steps, frequencies=frequencies)
        between("(0, inf)", horizon=horizon, dx=dx, dt=dt, step_sizes=step_sizes)
        between("(0, inf)", residual_steps=residual_steps, frequencies=frequencies)
        at_least(0, noise_level=noise_level, score_factor=score_factor)
        at_least(0, particle_noise=particle_noise)
        at_least(2, group_sizes=group_sizes)
        at_least(1, dim=dim)
        if dim > 1 and system not in ("ou", "contraction"):
            raise ValueError(f"system={system} has a dimension of its own; use dim=1")
        still = system in STILL or (system == "vp_reverse" and noise_level == 0)
        if integrator == "rk4" and not still:
            raise ValueError(
                f"rk4 integrates ODEs, and system={system} has noise; use "
                "integrator=euler_maruyama or heun"
            )
        if mode == "marginal":
            kind = reference
            if kind == "auto" and system in KNOWN and (still or operator == "fokker_planck"):
                kind = "closed_form"
            elif kind == "auto":
                kind = "flow" if still or operator == "continuity" else "finite_volume"
            right = still or operator == "fokker_planck"
            if operator == "wrong_sign" and not still:
                raise ValueError(
                    "operator=wrong_sign: no density obeys diffusion backwards; use mode=residual"
                )
            if kind == "closed_form" and not (system in KNOWN and right):
                raise ValueError(
                    f"reference=closed_form knows operator=fokker_planck of {', '.join(KNOWN)}, "
                    f"not operator={operator} of system={system}"
                )
            if kind == "finite_volume" and (still or operator == "continuity"):
                raise ValueError("reference=finite_volume: zero diffusion; use reference=flow")
            if kind == "finite_volume" and (system in PLANE or dim > 1):
                raise ValueError(
                    "reference=finite_volume solves on the line; use system=ou or double_well "
                    "with dim=1"
                )
            if kind == "flow" and not (still or operator == "continuity"):
                raise ValueError(
                    f"reference=flow carries a density without noise; use system="
                    f"{', '.join(STILL)}, or operator=continuity"
                )
            if kind == "flow" and dim > 2:
                raise ValueError(f"reference=flow sums over a grid; use dim=1 or 2, not {dim}")
            self.reference = kind
        for size in step_sizes:
            if mode == "marginal" and (
                abs(size / step_sizes[-1] - int(size / step_sizes[-1] + 0.5)) > 1e-6
                or abs(horizon / size - int(horizon / size + 0.5)) > 1e-6
            ):
                raise ValueError(
                    f"step_sizes: {size} must be a multiple of the last, {step_sizes[-1]}, and "
                    f"divide horizon={horizon}"
                )
        self.mode, self.integrator, self.operator = mode, integrator, operator
        self.estimator, self.horizon, self.particle_noise = estimator, horizon, particle_noise
        self.sizes = [float(h) for h in (step_sizes if mode == "marginal" else residual_steps)]
        self.group_sizes, self.dx, self.dt = list(group_sizes), dx, dt
        self.system = _system(system, dim, horizon, noise_level, score_factor)
        self.phi = TestFunctions(self.system.dim, [float(w) for w in frequencies])
        functions = len(self.phi.names)
        for name in ("sum", "square"):
            self.add_total(name, len(self.sizes), functions)
        if mode == "marginal":
            h = self.sizes[-1]
            self.ratios = [round(size / h) for size in self.sizes]
            self.steps = round(horizon / h)
            self.seen = sorted({max(1, i * self.steps // MOMENTS) for i in range(1, MOMENTS + 1)})
            for name in ("limit", "limit_square"):
                self.add_total(name, functions)
            self.add_total("groups", len(group_sizes), dtype=torch.int64)
            for name in ("group_sum", "group_square"):
                self.add_total(name, len(group_sizes), functions)
            self.add_total("counts", len(self.seen), BINS, dtype=torch.int64)

    def draw(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """Add what ``count`` particles tell."""
        x = self.system.start.sample(count, generator, self.real, self.device)
        if self.mode == "residual":
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            found = one_step_residuals(
                self.system, self.phi, x, noise, self.sizes, self.operator, self.estimator
            )
            return {"sum": found.sum(1), "square": found.square().sum(1)}
        counts = torch.zeros_like(self.totals["counts"])

        def observe(done: int, points: Tensor) -> None:
            if done in self.seen and self.system.dim == 1:
                low, high = self.system.domain
                place = ((points[:, 0] - low) / (high - low) * BINS).long().clamp(0, BINS - 1)
                counts[self.seen.index(done)] += torch.bincount(place, minlength=BINS)

        states = self._moved(x, generator, observe)
        values = [self.phi(state) for state in states]
        out = {
            "sum": torch.stack([value.sum(0) for value in values]),
            "square": torch.stack([value.square().sum(0) for value in values]),
            "counts": counts,
            "groups": torch.zeros_like(self.totals["groups"]),
            "group_sum": torch.zeros_like(self.totals["group_sum"]),
            "group_square": torch.zeros_like(self.totals["group_square"]),
        }
        for place, size in enumerate(self.group_sizes):
            groups = count // size
            out["groups"][place] = groups
            means = values[-1][: groups * size].view(groups, size, values[-1].shape[1]).mean(1)
            out["group_sum"][place] = means.sum(0)
            out["group_square"][place] = means.square().sum(0)
        limit = values[-1]
        if self.extrapolates:  # Richardson
            weight = 2 ** ORDER[self.integrator]
            limit = (weight * limit - values[-2]) / (weight - 1)
        out |= {"limit": limit.sum(0), "limit_square": limit.square().sum(0)}
        return out

    @property
    def extrapolates(self) -> bool:
        """Whether the last two step sizes tell what a step of 0 would."""
        return len(self.ratios) > 1 and self.ratios[-2] == 2

    def _moved(self, x: Tensor, generator: Generator, observe: Any) -> list[Tensor]:
        return coupled(
            self.system,
            self.integrator,
            x,
            self.ratios,
            self.sizes[-1],
            self.steps,
            self.particle_noise,
            generator,
            observe,
        )

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return the errors; record the rows of the figures."""
        draws = int(totals["draws"])
        mean = totals["sum"] / draws
        spread = (totals["square"] / draws - mean.square()).clamp_min(0)
        error = (spread / max(draws - 1, 1)).sqrt()
        if self.mode == "residual":
            return self._told_residuals(mean, error)
        return self._told_marginals(totals, mean, error, draws)

    def _told_residuals(self, mean: Tensor, error: Tensor) -> dict[str, float]:
        for dt, value, spread in zip(self.sizes, mean, error, strict=True):
            row = {
                "dt": dt,
                "residual": float(value.abs().mean()),
                "standard_error": float(spread.mean()),
            }
            self.record_rows("residual", [row])
        last, square = mean[-1].abs(), self.phi.names.index("x2")
        return {
            "abs_residual": float(last.mean()),
            "residual_x2": float(last[square]),
            "shortest_wave": self.phi.shortest_wave,
        }

    def _told_marginals(
        self, totals: dict[str, Tensor], mean: Tensor, error: Tensor, draws: int
    ) -> dict[str, float]:
        known = self.known()
        off = mean - known.means
        for h, value, gap, spread in zip(self.sizes, mean, off, error, strict=True):
            self.record_rows("weak", [{"h": h, "error": float(gap.square().mean().sqrt())}])
            columns = (self.phi.names, value.tolist(), known.means.tolist(), spread.tolist())
            self.record_rows(
                "means",
                [
                    {"h": h, "function": name, "mean": m, "theory": r, "standard_error": e}
                    for name, m, r, e in zip(*columns, strict=True)
                ],
            )
        self._record_groups(totals)
        self._record_density(totals["counts"], known, draws)
        self._record_paths()
        metrics = {
            "marginal_error": float(off[-1].abs().max()),
            "cf_error": self._wave_error(off[-1]),
            "shortest_wave": self.phi.shortest_wave,
            **known.facts,
        }
        if self.extrapolates:
            limit = totals["limit"] / draws
            spread = (totals["limit_square"] / draws - limit.square()).clamp_min(0)
            sigma = (spread / max(draws - 1, 1)).sqrt().clamp_min(1e-12)
            off = limit - known.means
            metrics["limit_error"] = float(off.abs().max())
            metrics["cf_limit_error"] = self._wave_error(off)
            metrics["max_abs_z"] = float((off.abs() / sigma).max())
        return metrics

    def _wave_error(self, off: Tensor) -> float:
        """Return the largest error of the characteristic function, |E exp(ikx)|."""
        waves = torch.tensor(self.phi.waves)
        return float(torch.hypot(off[waves], off[waves + 1]).max())

    def _record_groups(self, totals: dict[str, Tensor]) -> None:
        """The deviation of means of M particles, by M."""
        for place, size in enumerate(self.group_sizes):
            groups = int(totals["groups"][place])
            if groups > 1:
                mean = totals["group_sum"][place] / groups
                variance = totals["group_square"][place] / groups - mean.square()
                wide = float(variance.mean()) * groups / (groups - 1)
                row = {"particles": size, "error": math.sqrt(max(wide, 0.0))}
                self.record_rows("monte_carlo", [row])

    def known(self) -> density.Reference:
        """Return the law that the operator says, at the times that are seen."""
        system, phi = self.system, self.phi
        times = [done * self.sizes[-1] for done in self.seen]
        if self.reference == "closed_form":
            assert system.marginal is not None
            return density.closed_form(system.marginal, phi, times)
        drift, start, domain = system.drift, system.start, system.domain
        if self.reference == "flow":
            return density.flow(drift, start, domain, system.dim, phi, times, self.dx)
        assert system.diffusion is not None
        spread = OPERATORS[self.operator] * system.diffusion(0.0) ** 2 / 2
        return density.finite_volume(drift, spread, start, domain, phi, times, self.dx, self.dt)

    def _record_density(self, counts: Tensor, known: density.Reference, draws: int) -> None:
        if known.density is None:
            return
        low, high = self.system.domain
        width = (high - low) / BINS
        x = low + width * (torch.arange(BINS, dtype=torch.float64) + 0.5)
        theory = known.density(x)
        for place, done in enumerate(self.seen):
            time = round(done * self.sizes[-1], 6)
            columns = (x.tolist(), (counts[place] / draws / width).tolist(), theory[place].tolist())
            self.record_rows(
                "density",
                [
                    {"time": time, "x": round(at, 6), "density": p, "theory": t}
                    for at, p, t in zip(*columns, strict=True)
                ],
            )

    def _record_paths(self) -> None:
        """The ways of a few particles, drawn anew."""
        generator = self.generator(-1)
        x = self.system.start.sample(PATHS, generator, self.real, self.device)
        rows: list[dict[str, Any]] = []

        def observe(done: int, points: Tensor) -> None:
            time = round(done * self.sizes[-1], 6)
            for number, point in enumerate(points.tolist()):
                row = {f"x{i + 1}": value for i, value in enumerate(point)}
                rows.append({"particle": number, "time": time, **row})

        observe(0, x)
        self._moved(x, generator, observe)
        self.record_rows("paths", rows)


def _system(
    name: str, dim: int, horizon: float, noise_level: float, score_factor: float
) -> _sde.System:
    if name == "vp_reverse":
        return _sde.vp_reverse(horizon, noise_level, score_factor)
    make: Any = getattr(_sde, name)
    system: _sde.System = make(dim) if name in ("ou", "contraction") else make()
    return system
