"""What every test may count on: one thread, fixed seeds, no network, a run store of its own."""

import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Imported from within a checked module, it would be compiled anew, not cached.
import pytorch_lightning  # noqa: F401
from jaxtyping import install_import_hook

from suexp.interruption import TERMINAL

SOURCE = Path(__file__).parents[1] / "src" / "suexp"
# Types and shapes are checked at run time where there are tensors; for the rest mypy does.
GROUPS = {path.name for path in (SOURCE.parents[1] / "conf").iterdir()}
CHECKED = {path.name for path in SOURCE.iterdir()} & GROUPS - {"data", "logger", "experiment"} | {
    "nn"
}
install_import_hook(
    [f"suexp.{name}" for name in CHECKED],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_ERROR_REPORTING"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Prepared data is shared by all tests of a machine, but is not the user's own.
os.environ["SUEXP_CACHE"] = str(Path(tempfile.gettempdir()) / "suexp-test-cache")


@pytest.fixture(autouse=True)
def _hears_its_terminal() -> Iterator[None]:
    """A suite begun by nohup, or in the background of a shell, ignores what a terminal sends."""
    own = {number: signal.getsignal(number) for number in TERMINAL}
    for number in (number for number, handler in own.items() if handler is signal.SIG_IGN):
        hears = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, hears)
    yield
    for number, handler in own.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _quiet_torch() -> None:
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else None
        if host is not None and host not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"a test tried to reach {host}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shared_data() -> Path:
    """Real data sets beside the repository; the test skips without them."""
    folder = Path(__file__).parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no folder of real data beside the repository")
    return folder
