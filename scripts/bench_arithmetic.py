"""How long sums of products take by each arithmetic, over a product of matrices of the same size.

Mitchell's rule needs two passes over all products, an addition of integers and one of numbers,
where the exact product needs one instruction for several of them; it may take 15 times as long from
256 rows on. Below, what surrounds the passes takes most of the time. The contestants take turns, so
that a busy machine is equally busy for all.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from suexp.arithmetic import LogExact, Mitchell
from suexp.arithmetic.base import Arithmetic

LIMIT, FROM = 15, 256


def compare(rows: int, outputs: int, inputs: int, repeats: int) -> dict[str, float]:
    """Return the milliseconds of each arithmetic, the least of all repeats."""
    x, w = torch.randn(rows, inputs), torch.randn(outputs, inputs)
    rule, zeros = Mitchell(), x.relu()
    ways = {
        "exact": lambda: x @ w.T,
        "Mitchell": lambda: rule.sums(x, w),
        "Mitchell, half zeros": lambda: rule.sums(zeros, w),
        "logarithms": lambda: LogExact().sums(x, w),
    }
    if rows * outputs * inputs < FROM**3:  # with guards for each product
        ways["Mitchell, one by one"] = lambda: Arithmetic.sums(rule, x, w)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 2):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if repeat >= 2:  # the first two warm up
                seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * min(samples) for name, samples in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 512])
    parser.add_argument("--repeats", type=int, default=15, help="the least of so many (at least 5)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    options = parser.parse_args()
    if options.repeats < 5:
        parser.error("--repeats: the least of fewer than 5 says little")
    tables = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for size in options.sizes:
            found = compare(size, size, size, options.repeats)
            tables.append({"threads": threads, "size": size, "ms": found})
            print(f"\n{size} x {size} x {size}, {threads} thread{'s' * (threads > 1)}")
            for name, ms in found.items():
                ratio = ms / found["exact"]
                limited = name.startswith("Mitchell") and "," not in name and size >= FROM
                print(f"{name:28} {ms:9.3f} ms {ratio:8.1f} x" + f"  at most {LIMIT}" * limited)
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
