"""What this machine has, and those who ask for more of it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from suexp.errors import UserError

TOO_MUCH = "more memory is asked for than is free here; take smaller sizes"
_TORCH_SAYS = ("allocate memory", "out of memory", "Storage size calculation overflowed")


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[Path]:
    """Return NVIDIA's device files; torch, which would know, takes seconds to import."""
    return [*Path("/dev").glob("nvidia[0-9]*")]


def check_devices(trainer: Mapping[str, Any]) -> None:
    """Refuse more processes than there are cores, or GPUs; each would take memory and turns.

    Raises:
        UserError: the number, and what there is.
    """
    devices = trainer.get("devices", "auto")
    if isinstance(devices, str):
        devices = [part for part in devices.split(",") if part] if "," in devices else devices
    asked = len(devices) if isinstance(devices, list) else devices
    if not isinstance(asked, int) and not str(asked).isdecimal():  # auto
        return
    on_gpu = 0 if trainer.get("accelerator") == "cpu" else len(gpus())
    most = max(cores(), on_gpu)
    if not 1 <= int(asked) <= most:
        raise UserError(
            f"trainer.devices={asked}: a process a device, and this machine has "
            f"{most} {'GPUs' if on_gpu == most else 'cores'}; write trainer.devices={most} or less"
        )


@contextmanager
def within_memory() -> Iterator[None]:
    """Let allocations beyond the memory that is free fail; Linux would kill some process instead.

    Not beside a GPU, whose driver maps memory of its own.

    Raises:
        UserError: more was asked for.
    """
    try:
        with _limited(_free()):
            yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise UserError(TOO_MUCH) from error


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out: Python's, numpy's or torch's."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _TORCH_SAYS)
    )


@contextmanager
def _limited(free: int | None) -> Iterator[None]:
    if free is None:
        yield
        return
    import resource

    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    known = [limit for limit in (free, before, most) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(known), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, most))


def _free() -> int | None:
    """Return the bytes that this process may come to hold, on Linux without a GPU."""
    if gpus():
        return None
    try:
        held = _field(Path("/proc/self/status"), "VmData")
        return held + _field(Path("/proc/meminfo"), "MemAvailable")
    except OSError:
        return None


def _field(path: Path, name: str) -> int:
    """Return an entry of one of Linux's own files, in bytes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":")) * 1024
