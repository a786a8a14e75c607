"""How long the command line takes to answer, as multiples of `python -c "import hydra"`.

Whole processes are timed, the commands taking turns so that a busy machine is equally busy for all.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUEXP = str(Path(sys.executable).with_name("suexp"))
BASELINE = 'python -c "import hydra"'

# name -> arguments, expected exit code, limit in multiples of the baseline, the line to complete
COMMANDS: dict[str, tuple[list[str], int, float | None, str | None]] = {
    BASELINE: ([sys.executable, "-c", "import hydra"], 0, None, None),
    "suexp list": ([SUEXP, "list"], 0, 2.0, None),
    "suexp list optimizer": ([SUEXP, "list", "optimizer"], 0, 2.0, None),
    "suexp list experiment": ([SUEXP, "list", "experiment"], 0, 2.0, None),
    "suexp show lion": ([SUEXP, "show", "lion"], 0, 2.0, None),
    "suexp atention=softmax": ([SUEXP, "atention=softmax"], 2, 2.0, None),
    "suexp optimizer.lrr=1": ([SUEXP, "optimizer.lrr=1"], 2, 2.0, None),
    "suexp --help": ([SUEXP, "--help"], 0, 4.0, None),
    "suexp check": ([SUEXP, "check"], 0, 4.0, None),
    "suexp position=<TAB>": ([SUEXP, "-sc", "query=bash"], 0, 4.0, "suexp position="),
}


def measure(name: str, folder: str) -> dict[str, float]:
    """Run a command once; return its processor and wall time in seconds."""
    command, expected, _, line = COMMANDS[name]
    environment = {**os.environ, **({"COMP_LINE": line} if line else {})}
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != expected:
        raise SystemExit(f"{name}: exit code {process.returncode}, expected {expected}")
    return {"cpu": usage.ru_utime + usage.ru_stime, "wall": wall}


def compare(repeats: int) -> list[dict[str, object]]:
    """Return a row per command: median times, ratios to the baseline, the limit."""
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(repeats + 1):
            for name in COMMANDS:
                sample = measure(name, folder)
                if repeat:  # the first round only warms the file cache
                    samples[name].append(sample)
    medians = {
        name: {kind: statistics.median(s[kind] for s in taken) for kind in ("cpu", "wall")}
        for name, taken in samples.items()
    }
    base = medians[BASELINE]
    return [
        {
            "command": name,
            "cpu_seconds": median["cpu"],
            "wall_seconds": median["wall"],
            "cpu_ratio": median["cpu"] / base["cpu"],
            "wall_ratio": median["wall"] / base["wall"],
            "limit": COMMANDS[name][2],
        }
        for name, median in medians.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="timed runs of each command")
    parser.add_argument("--json", action="store_true", help="machine readable")
    given = parser.parse_args()
    rows = compare(max(1, given.repeats))
    if given.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'command':28} {'cpu s':>7} {'wall s':>7} {'cpu x':>6} {'wall x':>6}  limit")
    for row in rows:
        limit = "" if row["limit"] is None else f"{row['limit']:.0f}"
        print(
            f"{row['command']:28} {row['cpu_seconds']:7.3f} {row['wall_seconds']:7.3f} "
            f"{row['cpu_ratio']:6.2f} {row['wall_ratio']:6.2f}  {limit}"
        )


if __name__ == "__main__":
    main()
