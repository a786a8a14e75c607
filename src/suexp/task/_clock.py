"""How long something takes, on a machine that others use too."""

import math
import time
from collections.abc import Callable

import torch


def shortest_seconds(
    call: Callable[[], object], device: torch.device, least: float = 0.01, repeats: int = 1
) -> float:
    """Return the shortest time of several calls: noise only ever adds.

    On a CPU it is the processor's time, of all threads together, which does not run on while other
    processes have their turn; elsewhere the clock's, with the device waited for.

    Args:
        call: what is timed.
        device: where it runs.
        least: seconds that the calls take together at least.
        repeats: how many calls there are at least.
    """
    clock = time.perf_counter
    # Some systems count a process's time in ticks of milliseconds.
    if device.type == "cpu" and time.get_clock_info("process_time").resolution <= 1e-6:
        clock = time.process_time
    best, spent, calls = math.inf, 0.0, 0
    while spent < least or calls < repeats:
        _wait(device)
        start = clock()
        call()
        _wait(device)
        taken = clock() - start
        best, spent, calls = min(best, taken), spent + taken, calls + 1
    return best


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()
