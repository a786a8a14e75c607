"""What a refusal says, and how much memory it takes."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets  # noqa: F401  (its import is no memory of an input)
import pytest

from suexp.errors import UserError

MiB = 2**20


def said(read: Callable[[], Any], most: int = 8 * MiB) -> str:
    """Return the one line of a refusal that held at most so many bytes of Python's and NumPy's."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600
    return line


def gzipped(name: str, start: bytes, mebibytes: int) -> Path:
    """Write so many MiB of zeros in a thousandth of that."""
    with gzip.open(name, "wb") as file:
        file.write(start)
        for _ in range(mebibytes):
            file.write(bytes(MiB))
    return Path(name)
