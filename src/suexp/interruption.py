"""What asks a process to stop: Ctrl-C, SIGTERM, and a terminal that is closed."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

TERMINAL = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)
)  # a terminal sends these to all of its processes at once
STOPS = (signal.SIGTERM, *TERMINAL)

Handler = Callable[[int, FrameType | None], None] | signal.Handlers


@contextmanager
def handling(numbers: tuple[signal.Signals, ...], handler: Handler) -> Iterator[None]:
    """Have signals handled so for a while.

    Those that are ignored stay ignored: nohup and a shell's ``&`` mean that. Threads beside the
    main one handle none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    changed = {number: own for number, own in before.items() if own not in (signal.SIG_IGN, None)}
    for number in changed:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, own in changed.items():
            signal.signal(number, own)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal as Python does Ctrl-C, a moment later where it falls into a finalizer.

    Python drops what a finalizer raises, and prints a traceback for it.
    """
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            again = threading.Timer(0.01, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def leave_the_terminal_s() -> None:
    """Ignore what a terminal sends: the process that this one works for passes it on."""
    if threading.current_thread() is threading.main_thread():
        for number in TERMINAL:
            signal.signal(number, signal.SIG_IGN)
