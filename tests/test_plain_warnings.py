"""Warnings are lines."""

import warnings
from pathlib import Path

import pytest

from suexp.plain_warnings import OURS, show_plainly


@pytest.mark.parametrize(
    ("category", "file", "line"),
    [
        (UserWarning, OURS / "data" / "text.py", "suexp: warning: look"),
        (FutureWarning, OURS / "data" / "text.py", "suexp: FutureWarning: look"),
        (UserWarning, Path("/lib/torch/x.py"), "/lib/torch/x.py:7: warning: look"),
    ],
)
def test_a_warning_is_a_line_without_source(
    category: type[Warning], file: Path, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        show_plainly()
        warnings.warn_explicit("look", category, str(file), 7)
    assert capfd.readouterr().err == f"{line}\n"
