"""Error rates of verdicts: python scripts/simulate_verdicts.py [--repetitions 20000].

Normal differences of standard deviation 1 go through the very code that judges experiments. Where
their mean lies on the border of what a claim says, any verdict is an error, allowed 2.5 % a side.
"""

import argparse
import math
from collections import Counter
from typing import Any

import numpy as np

from suexp.judge.claims import judge
from suexp.judge.looks import Seeding

VERDICTS = ("reproduced", "not reproduced", "no difference that matters", "inconclusive")
ORDER = {"text": "", "test": "x[a] > x[b]"}
# What is claimed of a - b, and its mean.
BORDERS: list[tuple[dict[str, Any], float]] = [
    (ORDER, 0.0),
    ({"text": "", "test": "x[a] <= x[b] + 0.5"}, 0.5),
    ({"text": "", "test": "x[a] == x[b] +- 1"}, 1.0),
    ({**ORDER, "matters": 1.0}, 1.0),
]


def verdict(values: np.ndarray, seeding: Seeding, claim: dict[str, Any] = ORDER) -> tuple[str, int]:
    """Return the verdict on paired differences, and how many of them it took."""
    runs: list[dict[str, Any]] = [
        {"arm": arm, "seed": seed, "status": "finished", "metrics": {"x": x}}
        for seed, value in enumerate(values)
        for arm, x in (("a", float(value)), ("b", 0.0))
    ]
    for count in seeding.looks:
        record = judge({"C": claim}, runs[: 2 * count], "laptop", seeding)[0]
        if record["next"] is None:
            break
    return record["verdict"], count


def row(claim: dict[str, Any], mean: float, at_most: int, repetitions: int) -> str:
    """Return what comes out of a claim, as a row of a table."""
    rng = np.random.default_rng(11)
    seeding = Seeding(None, at_most)
    draws = (rng.standard_normal(at_most) + mean for _ in range(repetitions))
    found = [verdict(values, seeding, claim) for values in draws]
    names = Counter(name for name, _ in found)
    shares = [f"{100 * names[name] / repetitions:.2f}" for name in VERDICTS]
    seeds = np.mean([count for _, count in found])
    matters = f", matters {claim['matters']:g}" if "matters" in claim else ""
    said = f"`{claim['test']}`{matters}"
    return f"| {at_most} | {said} | {mean:g} | {' | '.join(shares)} | {seeds:.1f} |"


def main() -> None:
    """Print a row an effect, and one for each border."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=20_000)
    parser.add_argument("--at-most", type=int, nargs="+", default=[20])
    parser.add_argument("--effects", type=float, nargs="+", default=[0.5, 1, 2])
    given = parser.parse_args()
    error = 100 * math.sqrt(0.025 * 0.975 / given.repetitions)
    print(f"{given.repetitions:,} sequences a row; a share of 2.5 % has the error {error:.2f} %.\n")
    heads = ["at most", "claim", "mean of a - b", *(f"{name} %" for name in VERDICTS), "seeds"]
    print(f"| {' | '.join(heads)} |\n|--:|---|{'--:|' * (len(heads) - 2)}", flush=True)
    for at_most in given.at_most:
        for claim, mean in (*BORDERS, *((ORDER, effect) for effect in given.effects)):
            print(row(claim, mean, at_most, given.repetitions), flush=True)


if __name__ == "__main__":
    main()
