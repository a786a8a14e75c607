"""How a run ended, as its summary.json says."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Return the summary.json of a run's folder, or None when it is missing or damaged."""
    try:
        found = json.loads((folder / "summary.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "status" in found else None


def finals(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's final metrics, and its costs under the names ``cost/...``."""
    costs = {f"cost/{name}": value for name, value in (run.get("cost") or {}).items()}
    return costs | dict(run.get("metrics") or {})
