"""Which signals ask a process to stop, and who hears them."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from suexp.interruption import STOPS, handling, interrupt


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_is_handled_for_a_while(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    seen: list[int] = []
    with handling(STOPS, lambda number, _: seen.append(number)):
        signal.raise_signal(number)
    assert seen == [number]
    assert signal.getsignal(number) == before


def test_a_signal_that_falls_into_a_finalizer_is_not_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Leaving:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)
            left.append(True)

    def leave() -> None:
        Leaving()
        time.sleep(10)

    left: list[bool] = []
    with handling((signal.SIGTERM,), interrupt), pytest.raises(KeyboardInterrupt):
        leave()
    assert left == [True]
    assert capsys.readouterr().err == ""


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handling(STOPS, lambda *_: pytest.fail("it was ignored")):
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_handle_nothing() -> None:
    seen = []

    def work() -> None:
        with handling(STOPS, signal.SIG_IGN):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize("number", STOPS)
def test_the_command_ends_in_one_line(number: signal.Signals) -> None:
    program = f"""
import signal, sys
from suexp import cli
cli._dispatch = lambda _: signal.raise_signal(signal.{number.name})
sys.exit(cli.main(["list"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    said = "suexp: interrupted; the same command goes on from the last checkpoint\n"
    assert (done.returncode, done.stderr) == (130, said)
