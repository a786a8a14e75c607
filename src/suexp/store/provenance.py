"""Where a result comes from: versions, commit, machine."""

import functools
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any


@functools.cache
def provenance() -> dict[str, Any]:
    """Return versions, the commit of suexp's checkout, whether it was changed, and the machine."""
    root = Path(__file__).parents[3]
    status = _git(root, "status", "--porcelain", "--", "src", "conf", "pyproject.toml")
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("suexp", *_required())},
        },
        "commit": _git(root, "rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.system()},
    }


def _required() -> list[str]:
    """Return the packages that suexp itself requires, without those of its extras."""
    lines = importlib.metadata.requires("suexp") or []
    return [re.split(r"[^\w.-]", line)[0] for line in lines if "extra ==" not in line]


def _git(root: Path, *arguments: str) -> str | None:
    if not (root / ".git").exists():
        return None  # an installed wheel
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
