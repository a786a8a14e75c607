"""What a claim reads of the runs of one seed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from suexp.judge.expression import Extreme, Leaf, Metric, Slope
from suexp.near import near
from suexp.store.summary import diverged_at, finals


class NotEvaluatedError(Exception):
    """A claim cannot be evaluated; the message says which run is to blame."""


class Seed:
    """The runs of one seed, as the grammar wants to read them."""

    def __init__(self, seed: int, runs: Mapping[str, dict[str, Any]], known: list[str]) -> None:
        self.seed, self.runs, self.known = seed, runs, known

    def _metric(self, name: str, arm: str) -> float:
        metrics = self._finals(arm)
        if name not in metrics:
            if name not in self.known:
                raise NotEvaluatedError(f"no run recorded {name!r}{near(name, self.known)}")
            at = diverged_at(metrics)
            why = "" if at is None else f": it diverged at step {at}"
            raise NotEvaluatedError(f"{arm}, seed {self.seed}, recorded no {name}{why}")
        return self._number(metrics[name], name, arm)

    def read(self, leaf: Leaf) -> float:
        """Return the value of a part of a claim; it may be infinite, but not NaN."""
        if isinstance(leaf, Metric):
            return self._metric(leaf.name, leaf.arm)
        if isinstance(leaf, Extreme):
            return leaf.of([(self._setting(leaf.key, arm), self._finals(arm)) for arm in leaf.arms])
        return leaf.fit(self.points(leaf))

    def _finals(self, arm: str) -> dict[str, Any]:
        return finals(self.run(arm))

    def _setting(self, key: str, arm: str) -> float:
        value = (self.run(arm).get("settings") or {}).get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise NotEvaluatedError(f"{arm}: {key.replace('/', '.')} is {value}, no number")
        return float(value)

    def points(self, slope: Slope) -> list[tuple[float, float]]:
        """Return the (x, y) to which a slope is fitted."""
        if len(slope.arms) > 1:
            return [(self._metric(slope.x, arm), self._metric(slope.y, arm)) for arm in slope.arms]
        (arm,) = slope.arms
        return [
            (self._finite(row[slope.x], slope.x, arm), self._finite(row[slope.y], slope.y, arm))
            for row in self._rows(slope, arm)
            if all(condition.holds(row) for condition in slope.where)
        ]

    def _rows(self, slope: Slope, arm: str) -> list[dict[str, Any]]:
        """The rows of the one table of a run that has all the columns of a slope."""
        tables: dict[str, list[dict[str, Any]]] = self.run(arm).get("tables") or {}
        who = f"{arm}, seed {self.seed}"
        if slope.table is not None and slope.table not in tables:
            hint = near(slope.table, list(tables))
            raise NotEvaluatedError(f"{who}, recorded no table {slope.table!r}{hint}")
        wanted = dict.fromkeys([slope.x, slope.y, *(c.column for c in slope.where)])
        names = [slope.table] if slope.table else list(tables)
        fitting = [
            n for n in names if tables[n] and all(wanted.keys() <= r.keys() for r in tables[n])
        ]
        if len(fitting) > 1:
            choice = " or ".join(f"`in {name}`" for name in fitting)
            raise NotEvaluatedError(f"two tables have {', '.join(wanted)}: add {choice}")
        if not fitting:
            columns = list(dict.fromkeys(c for n in names for row in tables[n][:1] for c in row))
            absent = [c for c in wanted if c not in columns]
            hint = near(absent[0], columns) if absent else ""
            raise NotEvaluatedError(
                f"{who}, recorded no table with {', '.join(absent or wanted)}{hint}"
            )
        return tables[fitting[0]]

    def ran(self, arm: str) -> bool:
        """Tell whether the run of an arm has come to an end, a bad one included."""
        return arm in self.runs and self.runs[arm]["status"] != "interrupted"

    def run(self, arm: str) -> dict[str, Any]:
        """Return the finished run of an arm."""
        run = self.runs.get(arm)
        if run is None:
            raise NotEvaluatedError(f"there is no run of {arm}, seed {self.seed}")
        if run["status"] != "finished":
            error = f": {run['error']}" if run.get("error") else ""
            state = "was interrupted" if run["status"] == "interrupted" else run["status"]
            raise NotEvaluatedError(f"{arm}, seed {self.seed}, {state}{error}")
        return run

    def _finite(self, value: Any, name: str, arm: str) -> float:
        number = self._number(value, name, arm)
        if not math.isfinite(number):
            raise ArithmeticError(f"{name} of {arm}, seed {self.seed}, is {value}")
        return number

    def _number(self, value: Any, name: str, arm: str) -> float:
        if isinstance(value, int | float) and not math.isnan(value):
            return float(value)
        shown = "no number" if value is None else value
        at = diverged_at(self._finals(arm))
        why = "" if at is None else f": the run diverged at step {at}"
        raise ArithmeticError(f"{name} of {arm}, seed {self.seed}, is {shown}{why}")


def seeds_of(runs: Sequence[dict[str, Any]]) -> list[Seed]:
    """Group the runs by seed; every claim is asked of every seed, so that no gap goes unseen.

    Raises:
        NotEvaluatedError: there are none.
    """
    by_seed: dict[int, dict[str, dict[str, Any]]] = {}
    for run in runs:
        by_seed.setdefault(run["seed"], {})[run["arm"]] = run
    if not by_seed:
        raise NotEvaluatedError("there are no runs")
    known = known_metrics(runs)
    return [Seed(seed, by_seed[seed], known) for seed in sorted(by_seed)]


def diverged_in(seeds: Sequence[Seed], arms: Sequence[str]) -> list[dict[str, Any]]:
    """Return which runs of some arms diverged, in which seed and at which step."""
    return [
        {"arm": arm, "seed": seed.seed, "step": at}
        for arm in arms
        for seed in seeds
        if arm in seed.runs and (at := diverged_at(finals(seed.runs[arm]))) is not None
    ]


def known_metrics(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names of what finished runs recorded."""
    finished = [run for run in runs if run["status"] == "finished"]
    return sorted({name for run in finished for name in finals(run)})
