"""Numbers as people read them: no more digits than the interval allows, units where they help."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

NONE = "–"
Real = int | float  # JSON does not keep 2.0 apart from 2


def number(value: Any, digits: int = 4) -> str:
    """Format one number with a few significant digits; what is no number is shown as it is."""
    if value is None:
        return NONE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return {"nan": "NaN", "inf": "∞", "-inf": "-∞"}[str(float(value))]
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 10**digits:
        return f"{value:.{digits}g}"
    if 10**digits <= abs(value) < 1e9:
        return f"{value:,.0f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


UNITS = {
    "seconds": "s",
    "milliseconds": "ms",
    "ms": "ms",
    "bytes": "bytes",
    "bits_per_byte": "bits",
    "degrees": "°",
    "entropy": "nats",
    "kl": "nats",
    "nll": "nats",
}


def with_unit(name: str) -> str:
    """Return a metric's name with its unit, where the name tells it: ``cost/train_seconds (s)``.

    >>> with_unit("cost/train_seconds"), with_unit("val/accuracy"), with_unit("bytes")
    ('cost/train_seconds (s)', 'val/accuracy', 'bytes')
    """
    last = name.rpartition("/")[2]
    unit = next((u for end, u in UNITS.items() if last == end or last.endswith(f"_{end}")), "")
    return f"{name} ({unit})" if unit and unit != name else name


def aligned(values: list[Real], spread: Real) -> list[str]:
    """Format numbers with the decimals that a spread (half an interval) leaves sense in: two."""
    if not spread > 0 or not all(map(math.isfinite, values)):
        return [number(value) for value in values]
    if max(map(abs, values)) < 1e-3:
        exponent = math.floor(math.log10(max(*map(abs, values), spread)))
        inner = aligned([value / 10.0**exponent for value in values], spread / 10.0**exponent)
        return [f"{text}e{exponent}" for text in inner]
    decimals = max(0, 1 - math.floor(math.log10(spread)))
    return [f"{value:,.{min(decimals, 8)}f}" for value in values]


def with_interval(mean: Real, low: Real | None, high: Real | None) -> str:
    """Format ``mean [low, high]``; without an interval, or one of no width, the mean alone."""
    if low is None or high is None:
        return number(mean)
    if low == high:
        return f"{number(mean)}, no spread"
    shown, from_, to = aligned([mean, low, high], (high - low) / 2)
    return f"{shown} [{from_}, {to}]"


def plus_minus(mean: Real, low: Real | None, high: Real | None) -> str:
    """Format ``mean ± half``; a value without spread stands alone."""
    if low is None or high is None or high == low:
        return number(mean)
    shown, half = aligned([mean, (high - low) / 2], (high - low) / 2)
    return f"{shown} ± {half}"


def count(value: Real | None) -> str:
    """Format a large count: 274 k, 1.31 G."""
    if value is None:
        return NONE
    for limit, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= limit:
            return f"{value / (limit if limit > 1e4 else 1e3):.3g}{unit}"
    return number(value)


def size(value: Real | None) -> str:
    """Format bytes: 612 MB."""
    if value is None:
        return NONE
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.0f} B"


def duration(seconds: Real | None) -> str:
    """Format a time: 0.42 s, 18 s, 4 min 35 s, 2 h 5 min."""
    if seconds is None:
        return NONE
    if seconds < 10:
        return f"{seconds:.2g} s"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s" if total % 60 else f"{total // 60} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def total_seconds(runs: Iterable[Mapping[str, Any]]) -> float:
    """Return how long runs took one after the other; one that arms share counts once."""
    costs = {run.get("id"): run.get("cost") or {} for run in runs}
    return sum(cost.get("wall_seconds") or 0.0 for cost in costs.values())


def total_time(runs: Iterable[Mapping[str, Any]]) -> str:
    """Format that."""
    return duration(total_seconds(runs))


def split_links(text: str) -> list[tuple[str, bool]]:
    """Split a text into (piece, is it a web address)."""
    pieces = re.split(r"(https?://[^\s<>\"']*[^\s<>\"'.,;:)\]])", text)
    return [(piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece]
