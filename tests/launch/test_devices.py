"""Several processes on one machine's CPU: the same batches, the same numbers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from suexp.code.instantiate import instantiate
from suexp.data.counter import Counter
from suexp.job.batches import Loading
from suexp.job.run import execute
from suexp.launch.processes import run_one
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.task.estimation import EstimationTask
from tests.support.processes import two_processes
from tests.support.tiny import tiny

OVERRIDES = ("model.dropout=0", "trainer.max_steps=8", "trainer.val_check_interval=8")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_equal_one(tmp_path: Path, strategy: str) -> None:
    """The validation has an odd number of rows, and of batches of the one process."""
    # FSDP2 clips no gradients through Lightning, so nobody does here.
    common = [*OVERRIDES, "trainer.gradient_clip_val=null", "trainer.limit_val_batches=1.0"]
    common += ["data.block_size=27", "data.eval_batch_size=2200", "attention=performer"]
    config = spec_of(tiny(tmp_path, *common))
    rows = len(instantiate(config.config["data"]).splits()["validation"])
    assert (rows % 2, -(-rows // 2200) % 2) == (1, 1), rows
    single = execute(config)
    two = [item for item in tiny(tmp_path, *common) if item != "trainer=cpu"]
    config_of_two = spec_of([*two, f"trainer={strategy}", "trainer.accelerator=cpu"])
    several = two_processes(config_of_two)
    for ours, theirs in zip(Run(config).history(), Run(config_of_two).history(), strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"train/elements_per_second"}:
            assert theirs[name] == pytest.approx(ours[name], rel=1e-5), (ours["step"], name)
    assert several.cost["parameters"] == single.cost["parameters"]


class Draws(EstimationTask):
    """The mean of normal draws, each of which it keeps."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.add_total("sum")
        self.add_total("largest", join="max")

    def draw(self, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        x = torch.randn(count, generator=generator, dtype=torch.float64)
        with (self.folder / f"rank {self.global_rank}").open("a") as file:
            file.writelines(f"{value!r}\n" for value in x.tolist())
        return {"sum": x.sum(), "largest": x.max()}

    def summarise(self, totals: dict[str, torch.Tensor]) -> dict[str, float]:
        draws = float(totals["draws"])
        found = {"draws": draws, "mean": float(totals["sum"]) / draws}
        (self.folder / f"found {self.global_rank}").write_text(json.dumps(found))
        return found | {"largest": float(totals["largest"])}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the processes")
def test_ranks_never_draw_the_same(tmp_path: Path) -> None:
    """203 draws in batches of 50: every one counts once, in one of the two processes."""
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=str(tmp_path),
    )
    loading = Loading(Counter(num_samples=203, batch_size=50), 0)
    trainer.test(Draws(str(tmp_path)), datamodule=loading, verbose=False)
    drawn = [
        [float(line) for line in (tmp_path / f"rank {rank}").read_text().splitlines()]
        for rank in range(2)
    ]
    together = [*drawn[0], *drawn[1]]
    assert abs(len(drawn[0]) - len(drawn[1])) <= 2
    assert len({*together}) == 203
    for rank in range(2):
        found = json.loads((tmp_path / f"found {rank}").read_text())
        assert found["draws"] == 203
        assert found["mean"] == pytest.approx(sum(together) / 203, rel=1e-12)
    assert trainer.callback_metrics["test/largest"] == pytest.approx(max(together))


@pytest.mark.slow
def test_a_parent_on_several_devices_is_trained_first(tmp_path: Path) -> None:
    """Lightning itself starts the second process of each run."""
    several = [item for item in tiny(tmp_path, *OVERRIDES) if item != "trainer=cpu"]
    several += ["trainer=ddp", "trainer.accelerator=cpu", 'parent=["seed=5"]']
    config = spec_of(several)
    summary = run_one(config)
    assert summary is not None
    assert summary.status == "finished", summary.error
    parent = Run(config.origins["parent"]).summary()
    assert parent is not None
    assert parent.metrics["train/loss"] > summary.metrics["train/loss"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_of_a_run_outlives_the_command(tmp_path: Path, number: int) -> None:
    """The command starts the first of two processes, and Lightning in that one the second."""
    several = [item for item in tiny(tmp_path, *OVERRIDES) if item != "trainer=cpu"]
    several += ["trainer=ddp", "trainer.accelerator=cpu", "trainer.max_steps=1000000"]
    program = "import sys; from suexp.cli import main; sys.exit(main())"
    said = (tmp_path / "said").open("w")
    command = subprocess.Popen([sys.executable, "-c", program, *several], stderr=said)
    said.close()

    def of_the_run() -> list[str]:
        """Return the processes that name the run's config, but for those that have ended."""
        found = subprocess.run(
            ["ps", "-A", "-ww", "-o", "stat=,pid=,args="],
            capture_output=True,
            text=True,
            check=True,
        )
        children = [line for line in found.stdout.splitlines() if f"{tmp_path}/runs" in line]
        return [line.split()[1] for line in children if not line.startswith("Z")]

    def trains() -> bool:
        return any(path.stat().st_size for path in tmp_path.glob("runs/*/metrics.jsonl"))

    deadline = time.monotonic() + 120
    while not trains() and command.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    left = of_the_run()
    command.send_signal(number)
    command.wait()
    try:
        assert len(left) == 2
        deadline = time.monotonic() + 15
        while of_the_run() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert of_the_run() == []
        if number == signal.SIGTERM:  # both have stopped after the same step, and have saved it
            last = (tmp_path / "said").read_text().splitlines()[-1]
            assert command.returncode == 130
            assert last.startswith("suexp: interrupted; the same command goes on")
            assert "Traceback" not in (tmp_path / "said").read_text()
            assert list(tmp_path.glob("runs/*/checkpoints/step=*0.ckpt"))
    finally:
        for process in of_the_run():
            os.kill(int(process), signal.SIGKILL)


@pytest.mark.slow
def test_the_others_say_what_stopped_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    large = ("optimizer=sgd", "optimizer.lr=1e30", "trainer.gradient_clip_val=null")
    config = spec_of(tiny(tmp_path, *large))
    Run(config).folder.mkdir(parents=True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert execute(config).status == "failed"
    assert capsys.readouterr().err.startswith("process 1: the loss is ")


@pytest.mark.slow
def test_only_the_first_process_writes_the_run_s_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that write the same table take each other's half-written file away."""
    rows = ("callback=update_size", "callbacks.update_size.every=1")
    config = spec_of(tiny(tmp_path, *rows, "trainer.max_steps=2"))
    folder = Run(config).folder
    folder.mkdir(parents=True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    summary = execute(config)
    assert summary.status == "finished", summary.error
    for name in ("table.jsonl", "summary.json", "config.yaml"):
        assert not (folder / name).exists()
    monkeypatch.setenv("LOCAL_RANK", "0")
    execute(config.changed(lambda own: {**own, "rerun": True}))
    assert Run(config).tables().keys() == {"update"}
