"""What the scan of chunk and batch sizes records."""

from pathlib import Path

from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.callback.test_gradient_error import SMALL

SCAN = (
    "callback=chunk_scan",
    "callbacks.chunk_scan.chunk_sizes=[4,32]",
    "callbacks.chunk_scan.batch_sizes=[32,64,128]",
    "callbacks.chunk_scan.chunk=8",
)


def test_tables(tmp_path: Path) -> None:
    config = spec_of([*SMALL, *SCAN, "model.num_layers=3", f"out={tmp_path}"])
    summary = execute(config)
    assert summary.status == "finished", summary.error
    tables = Run(config).tables()
    errors = {(row["method"], row["chunk"]): row["error"] for row in tables["chunk"]}
    assert errors["grad_cache", 4] < 1e-5
    assert errors["grad_cache", 32] < 1e-5
    assert errors["naive", 4] > 0.1
    assert errors["naive", 32] < 1e-5
    held = {(row["method"], row["batch"]): row["bytes"] for row in tables["memory"]}
    assert held["direct", 128] > 3 * held["direct", 32]
    assert held["loss", 128] < held["direct", 128]
    assert summary.metrics["train/loss_bytes"] == held["loss", 32]
    assert held["grad_cache", 128] < 0.5 * held["direct", 128]
