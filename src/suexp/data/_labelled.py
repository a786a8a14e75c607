"""Batches of points that have answers."""

from typing import Any


def labelled(rows: list[dict[str, Any]], answer: str = "label", kind: Any = None) -> dict[str, Any]:
    """Return ``x`` (B, ...) and the answers (B,), of a NumPy type where one is named."""
    import numpy as np
    import torch

    return {
        "x": torch.from_numpy(np.stack([row["x"] for row in rows])),
        answer: torch.from_numpy(np.array([row[answer] for row in rows], dtype=kind)),
    }
