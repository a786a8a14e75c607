"""A process ends soon after the one that it works for, by whatever chain it was started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

# Each starts the next by a command, prints its own id, and waits; the last is deaf to SIGTERM.
CHAIN = """
import os, signal, subprocess, sys, time
from suexp import following
from suexp.following import follow_starter, led

following.PERIOD, following.GRACE = 0.05, float(sys.argv[2])
follow_starter()
left = int(sys.argv[1])
if left:
    subprocess.Popen([sys.executable, "-c", sys.argv[3], str(left - 1), *sys.argv[2:]], env=led())
elif sys.argv[4:] == ["deaf"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def gone(process: int) -> bool:
    """Tell whether a process has ended, whether or not anybody asked for its exit code."""
    found = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()[:1] in ("", "Z")


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(("grace", "deaf"), [(60.0, []), (0.2, ["deaf"])], ids=["willing", "deaf"])
def test_a_chain_of_processes_ends_with_its_first(grace: float, deaf: list[str]) -> None:
    command = [sys.executable, "-c", CHAIN, "2", str(grace), CHAIN, *deaf]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    chain = [int(first.stdout.readline()) for _ in range(3)]
    try:
        assert first.pid in chain
        os.kill(chain[-1], signal.SIGINT)  # the first hears Ctrl-C, and may pass it on
        assert not within(0.2, lambda: any(map(gone, chain)))
        os.kill(first.pid, signal.SIGKILL)  # nobody asks for its exit code: it stays a zombie
        assert within(10, lambda: all(map(gone, chain)))
    finally:
        for process in chain:
            if not gone(process):
                os.kill(process, signal.SIGKILL)
        first.stdout.close()
        first.wait()


def test_a_command_that_nobody_leads_goes_on_alone() -> None:
    """Whoever starts one by hand may leave."""
    command = [sys.executable, "-c", CHAIN, "0", "0.2", CHAIN]
    outer = "import subprocess, sys; subprocess.Popen(sys.argv[1:])"
    free = {name: value for name, value in os.environ.items() if name != "SUEXP_LEADER"}
    done = subprocess.Popen(
        [sys.executable, "-c", outer, *command], stdout=subprocess.PIPE, text=True, env=free
    )
    assert done.stdout is not None
    alone = int(done.stdout.readline())
    done.wait()
    try:
        assert not within(0.5, lambda: gone(alone))
    finally:
        os.kill(alone, signal.SIGKILL)
        done.stdout.close()
