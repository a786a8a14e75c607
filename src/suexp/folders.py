"""Where the files stand that suexp ships beside its code."""

from pathlib import Path


def conf_dir() -> Path:
    """Return the folder of the groups: the wheel's own, else the source checkout's."""
    return _shipped("conf")


def experiments_dir() -> Path:
    """Return the folder of the recorded results, which has one folder an experiment."""
    return _shipped("experiments")


def _shipped(name: str) -> Path:
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parents[1] / name
