"""Warnings as lines, without the source that raised them."""

import sys
import warnings
from pathlib import Path
from typing import TextIO

OURS = Path(__file__).parent


def show_plainly() -> None:
    """Have suexp's warnings shown as ``suexp: warning: ...``, and others' with their place."""
    warnings.showwarning = _show


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del line
    who = "suexp" if Path(filename).is_relative_to(OURS) else f"{filename}:{lineno}"
    kind = "warning" if category is UserWarning else category.__name__
    print(f"{who}: {kind}: {message}", file=file or sys.stderr, flush=True)
