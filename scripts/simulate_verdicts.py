"""Error rates of verdicts: python scripts/simulate_verdicts.py [--repetitions 20000].

Normal differences with an effect of d standard deviations beyond the border go through the very
code that judges experiments. At d = 0 any verdict is an error, allowed 2.5 % a side.
"""

import argparse
from typing import Any

import numpy as np

from suexp.judge.claims import judge
from suexp.judge.looks import Seeding

CLAIM = {"C": {"text": "", "test": "x[a] > x[b]"}}


def verdict(values: np.ndarray, seeding: Seeding) -> tuple[str, int]:
    """Return the verdict on paired differences, and how many of them it took."""
    runs: list[dict[str, Any]] = [
        {"arm": arm, "seed": seed, "status": "finished", "metrics": {"x": x}}
        for seed, value in enumerate(values)
        for arm, x in (("a", float(value)), ("b", 0.0))
    ]
    for count in seeding.looks:
        record = judge(CLAIM, runs[: 2 * count], "laptop", seeding)[0]
        if record["next"] is None:
            break
    return record["verdict"], count


def main() -> None:
    """Print a row an effect and a plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=20_000)
    parser.add_argument("--at-most", type=int, nargs="+", default=[20])
    parser.add_argument("--effects", type=float, nargs="+", default=[0, 0.5, 1, 2])
    given = parser.parse_args()
    print("| at most | d | reproduced % | not reproduced % | open % | mean seeds |")
    print("|--:|--:|--:|--:|--:|--:|")
    for at_most in given.at_most:
        for effect in given.effects:
            rng = np.random.default_rng(11)
            found = [
                verdict(rng.standard_normal(at_most) + effect, Seeding(None, at_most))
                for _ in range(given.repetitions)
            ]
            names = [name for name, _ in found]
            shares = [
                f"{100 * names.count(name) / len(names):.2f}"
                for name in ("reproduced", "not reproduced", "inconclusive")
            ]
            seeds = np.mean([count for _, count in found])
            print(f"| {at_most} | {effect:g} | {' | '.join(shares)} | {seeds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
