"""Output that may outlive its terminal."""

import errno
import io
import sys
from typing import Any


class Terminal(io.FileIO):
    """Writes for as long as the terminal is there; what comes later is lost, and nothing else."""

    def write(self, data: Any) -> int:
        """Write what the terminal takes."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(data)


def outlive_the_terminal() -> None:
    """Have this process go on when its terminal is closed, disowned by its shell, say."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream.isatty():
            raw = io.BufferedWriter(Terminal(stream.fileno(), "w", closefd=False))
            own = io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=True)
            setattr(sys, name, own)
