"""What is asked for beyond what the machine has is refused in one line."""

import resource
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from suexp.cli import checking
from suexp.errors import UserError
from suexp.launch.processes import run_all, run_one
from suexp.launch.spec import spec_of
from suexp.machine import check_devices, cores, gpus, out_of_memory, within_memory
from tests.support.tiny import tiny


@pytest.mark.parametrize("devices", [1000, -5, 0, "1000", [*range(1000)], ",".join("0" * 1000)])
def test_more_processes_than_cores_are_refused(devices: object) -> None:
    asked = devices if isinstance(devices, int) or str(devices) == "1000" else 1000
    with pytest.raises(UserError, match=rf"^trainer\.devices={asked}: .* has {cores()} cores"):
        check_devices({"accelerator": "cpu", "devices": devices})


@pytest.mark.parametrize("devices", [1, "1", "auto", "-1", [0], cores()])
def test_what_is_there_may_be_used(devices: object) -> None:
    check_devices({"accelerator": "cpu", "devices": devices})


def test_no_process_is_started_for_devices_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    overrides = tiny(tmp_path, "trainer.devices=1000")
    for begin in (lambda: run_one(spec_of(overrides)), lambda: run_all([overrides], 1)):
        with pytest.raises(UserError, match=r"^trainer\.devices=1000: a process a device"):
            begin()
    with pytest.raises(UserError, match=r"^trainer\.devices=1000: a process a device"):
        checking.run(overrides)
    assert checking.run([*overrides, "hydra/launcher=submitit_slurm"]) == 0  # another machine


@pytest.mark.skipif(bool(gpus()), reason="the memory is not bounded beside a GPU")
@pytest.mark.parametrize("make", [torch.empty, np.ones, bytearray])
def test_memory_that_is_not_there(make: object) -> None:
    """Linux would grant it, and kill a process once it is used."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    said = pytest.raises(UserError, match=r"^more memory is asked for than is free here")
    with said, within_memory():
        make(2**45)  # type: ignore[operator]
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_torch_counts_sizes_that_overflow_as_memory() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**31, 2**31, 2**2)
    assert out_of_memory(raised.value)
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
