"""How a run ended, as its summary.json says."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Return the summary.json of a run's folder, or None when it is missing or damaged."""
    try:
        found = json.loads((folder / "summary.json").read_bytes())
        whole = isinstance(found, dict) and "status" in found and found.pop("seal") == _seal(found)
    except (OSError, ValueError, LookupError):
        return None
    return found if whole else None


def sealed(summary: Mapping[str, Any]) -> str:
    """Return a summary as its file has it, with a checksum of its own."""
    return json.dumps({**summary, "seal": _seal(summary)}, indent=1)


def _seal(summary: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(summary).encode())


def finals(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's final metrics, and its costs under the names ``cost/...``."""
    costs = {f"cost/{name}": value for name, value in (run.get("cost") or {}).items()}
    return costs | dict(run.get("metrics") or {})
