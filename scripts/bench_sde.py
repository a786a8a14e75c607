"""Steps of Euler and Maruyama for many particles: ours against torchsde's, taking turns.

The system is the double well of experiment=fokker_planck. torchsde keeps a tree of the Brownian
motion, so that it can go back along it; particles that only go forward need none.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from suexp.nn.sde import solve

LIMIT = 1.0  # our time over the peer's


class Well(torch.nn.Module):
    """The same system as torchsde wants it."""

    noise_type, sde_type = "diagonal", "ito"

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the drift."""
        del t
        return y - y * y * y

    def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the diffusion."""
        del t
        return torch.full_like(y, 0.7)


def contestants(particles: int, steps: int) -> dict[str, Callable[[], torch.Tensor]]:
    x = torch.randn(particles, 1)
    times = [i / steps for i in range(steps + 1)]

    def ours() -> torch.Tensor:
        return solve("euler_maruyama", lambda _, y: y - y * y * y, lambda _: 0.7, x, times)

    found = {"suexp": ours}
    try:
        import torchsde
    except ImportError:
        return found

    def peer() -> torch.Tensor:
        ends = torch.tensor([0.0, 1.0])
        return torchsde.sdeint(Well(), x, ends, dt=1 / steps, method="euler")[-1]

    return found | {"torchsde": peer}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--particles", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the results there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runs = contestants(options.particles, options.steps)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds + 1):  # the first warms up
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    for name, value in median.items():
        print(f"{name:9} {1000 * value:8.1f} ms")
    ratio = None
    if "torchsde" in median:
        ratio = median["suexp"] / median["torchsde"]
        print(f"ratio {ratio:.3f} (at most {LIMIT})")
    else:
        print("torchsde is not installed (extra `peers`): no ratio to it")
    if options.json:
        options.json.write_text(json.dumps({"seconds": median, "ratio": ratio}, indent=1))
    return int(ratio is not None and ratio > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
