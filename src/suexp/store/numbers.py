"""Numbers for which JSON has no word: infinite ones and NaN, which it holds as strings."""

import json
import math
from typing import Any

WORDS = ("inf", "-inf", "nan")


def dumps(value: Any, **options: Any) -> str:
    """Return JSON that any reader takes.

    >>> dumps({"val/loss": math.inf})
    '{"val/loss": "inf"}'
    """
    return json.dumps(told(value), allow_nan=False, **options)


def told(value: Any) -> Any:
    """Return nested containers with words in the place of such numbers."""
    if isinstance(value, dict):
        return {key: told(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [told(item) for item in value]
    return str(float(value)) if isinstance(value, float) and not math.isfinite(value) else value


def read(value: Any) -> Any:
    """Return nested containers with numbers in the place of such words."""
    if isinstance(value, dict):
        return {key: read(item) for key, item in value.items()}
    if isinstance(value, list):
        return [read(item) for item in value]
    return float(value) if isinstance(value, str) and value in WORDS else value
