"""Files that are lost, cut off, overwritten or cannot be written: what a run makes of them."""

import contextlib
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.errors import Unwritable, UserError
from suexp.job.build import trained
from suexp.job.checkpoint import damage
from suexp.job.recorder import Recorder
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.store.spec import RunSpec
from suexp.store.summary import Summary
from tests.support.tiny import tiny

pytestmark = pytest.mark.xdist_group("damage")  # one worker makes what its tests share

STEPS = (
    "trainer.max_steps=6",
    "trainer.val_check_interval=3",
    "trainer.log_every_n_steps=2",
    "trainer.checkpoint_seconds=0",
    "data.max_bytes=1200",
)
PARENT = 'parent=["seed=9","trainer.max_steps=3"]'


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an output folder with a run and its parent, both finished."""
    out = tmp_path_factory.mktemp("finished")
    assert execute(spec_of(tiny(out, *STEPS, PARENT))).status == "finished"
    return out


def copied(finished: Path, out: Path) -> Run:
    shutil.copytree(finished / "runs", out / "runs")
    return Run(spec_of(tiny(out, *STEPS, PARENT)))


def outcome(run: Run) -> tuple[Any, ...]:
    state = torch.load(run.checkpoints()[0], weights_only=True)
    summary = run.summary()
    assert summary is not None
    assert run.finished
    assert not list(run.folder.rglob("*.part"))
    times = "train/elements_per_second"
    history = [{k: v for k, v in line.items() if k != times} for line in run.history()]
    metrics = {k: v for k, v in summary.metrics.items() if k != times}
    weights = {name: value.tolist() for name, value in state["state_dict"].items()}
    return run.checkpoints()[0].name, weights, history, metrics


def flip(path: Path, place: int = -1) -> None:
    """Change one byte; by default of the checkpoint's largest tensor, and of nothing else."""
    if place < 0:
        with zipfile.ZipFile(path) as file:
            tensors = [record for record in file.infolist() if "/data/" in record.filename]
        largest = max(tensors, key=lambda record: record.file_size)
        place = largest.header_offset + 200 + largest.file_size // 2
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def newest_cut_off(run: Run) -> None:
    (run.folder / "summary.json").unlink()
    newest = run.checkpoints()[0]
    newest.write_bytes(newest.read_bytes()[:1000])


def newest_flipped(run: Run) -> None:
    (run.folder / "summary.json").unlink()
    flip(run.checkpoints()[0])


def no_checkpoint_whole(run: Run) -> None:
    (run.folder / "summary.json").unlink()
    for path in run.checkpoints():
        flip(path)


def parent_s_weights_flipped(run: Run) -> None:
    run.clear()
    flip(Run(run.spec.origins["parent"]).checkpoints()[0])


def garbage_in_metrics(run: Run) -> None:
    """Of a run that was to go on, whose last line is only half there, too."""
    (run.folder / "summary.json").unlink()
    path = run.folder / "metrics.jsonl"
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, b"\xff\x00garbage\n", *rest[2:]])[:-7])


def garbage_in_finished_metrics(run: Run) -> None:
    path = run.folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"train/loss": ', b'"train/loss": 1', 1))


def summary_cut_off(run: Run) -> None:
    path = run.folder / "summary.json"
    path.write_bytes(path.read_bytes()[:100])


def config_empty(run: Run) -> None:
    (run.folder / "summary.json").unlink()
    (run.folder / "config.yaml").write_text("")


def config_of_finished_edited(run: Run) -> None:
    path = run.folder / "config.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))


def value_of_finished_edited(run: Run) -> None:
    path = run.folder / "summary.json"
    path.write_text(re.sub(r'("val/loss": )[\d.]+', r"\g<1>1.5", path.read_text()))


def lock_left_behind(run: Run) -> None:
    (run.folder / "summary.json").unlink()
    (run.folder / ".lock").write_text("12345")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (newest_cut_off, "step=6.ckpt is damaged"),
        (newest_flipped, "the checksum of "),
        (no_checkpoint_whole, "step=5.ckpt is damaged"),
        (parent_s_weights_flipped, "step=3.ckpt is damaged"),
        (garbage_in_metrics, "goes on from step=6"),
        (garbage_in_finished_metrics, "are not as the run left them"),
        (summary_cut_off, "summary.json is damaged"),
        (config_of_finished_edited, "are not as the run left them"),
        (value_of_finished_edited, "summary.json is damaged"),
        (config_empty, "goes on from step=6"),
        (lock_left_behind, "goes on from step=6"),
    ],
)
def test_what_is_damaged_is_named_and_made_again(
    finished: Path, tmp_path: Path, harm: Callable[[Run], None], told: str
) -> None:
    run = copied(finished, tmp_path)
    expected = outcome(run)
    harm(run)
    said: list[str] = []
    assert execute(run.spec, said.append).status == "finished"
    assert len([line for line in said if told in line]) == 1, said
    assert outcome(run) == expected
    assert (run.folder / "config.yaml").stat().st_size > 0


def test_a_flipped_bit_of_a_tensor_is_seen(finished: Path, tmp_path: Path) -> None:
    run = copied(finished, tmp_path)
    newest = run.checkpoints()[0]
    assert damage(newest) is None
    flip(newest)
    torch.load(newest, weights_only=True)  # torch sees nothing
    assert "checksum" in str(damage(newest))
    assert damage(tmp_path / "none.ckpt") is not None
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("a", "b")
    assert damage(tmp_path / "other.zip") is not None  # what torch says of it


def test_only_a_run_s_own_names_are_checkpoints(finished: Path, tmp_path: Path) -> None:
    """A file manager's copy, an editor's backup: they stay where they are."""
    run = copied(finished, tmp_path)
    newest, *rest = run.checkpoints()
    strange = [
        newest.with_name(name)
        for name in ("step=30 (copy).ckpt", "step=.ckpt", "step=-1.ckpt", "step=07.ckpt", "x.ckpt")
    ]
    for path in strange:
        shutil.copy(newest, path)
    newest.with_name("step=99.ckpt").mkdir()
    assert run.checkpoints() == [newest, *rest]
    newest.unlink()
    (run.folder / "summary.json").unlink()
    said: list[str] = []
    assert execute(run.spec, said.append).status == "finished"
    assert any(f"goes on from {rest[0].stem}" in line for line in said)
    assert all(path.exists() for path in strange)


def test_packed_parts_and_weights_that_are_no_numbers_are_damage(
    finished: Path, tmp_path: Path
) -> None:
    """What is packed may grow without bound; torch itself never packs."""
    run = copied(finished, tmp_path)
    newest = run.checkpoints()[0]
    state = torch.load(newest, weights_only=True)
    name = next(iter(state["state_dict"]))
    with (
        zipfile.ZipFile(newest) as plain,
        zipfile.ZipFile(tmp_path / "packed", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for part in plain.namelist():
            packed.writestr(part, plain.read(part))
    (tmp_path / "packed").replace(newest)
    assert damage(newest) == "its parts are packed, which torch's own never are"
    state["state_dict"][name].fill_(torch.nan)
    torch.save(state, newest)
    assert damage(newest) == f"{name} holds nan"
    with pytest.raises(UserError, match=f"{re.escape(name)} holds nan, so nothing can start from"):
        trained(run)


@pytest.mark.slow
def test_a_run_whose_folder_is_deleted_says_so(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = outcome(copied(finished, tmp_path))
    run = Run(spec_of(tiny(tmp_path / "other", *STEPS, PARENT)))
    end = Recorder.on_train_batch_end

    def delete(self: Recorder, trainer: Any, *rest: Any) -> None:
        if trainer.max_steps == 6 and trainer.global_step == 3:
            shutil.rmtree(run.folder)
        end(self, trainer, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_train_batch_end", delete)
        summary = execute(run.spec)
    assert summary.status == "failed"
    assert "its folder was deleted; the same command runs it again" in summary.error
    assert execute(run.spec).status == "finished"
    assert outcome(run) == expected


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(2, "No such file", "x.txt"), "FileNotFoundError: "),
        (OSError(28, "No space left on device"), "cannot write "),
    ],
)
def test_what_else_goes_wrong_in_training_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, told: str
) -> None:
    """A file that a callback misses is no deleted run, but what fills the disk has filled it."""

    def fail(*_: Any) -> None:
        raise error

    run = Run(spec_of(tiny(tmp_path, *STEPS)))
    monkeypatch.setattr(Recorder, "on_train_batch_end", fail)
    with contextlib.suppress(Unwritable):
        execute(run.spec)
    summary = run.summary()
    assert summary is not None
    assert (summary.status, summary.error.startswith(told)) == ("failed", True)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("config.yaml.part", 1),
        ("metrics.jsonl", 2),
        ("step=4.ckpt.part", 0),
        ("summary.json.part", 1),
    ],
)
def test_a_full_disk_stops_a_run_in_one_line(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: int
) -> None:
    """The parent's files of the name come first."""
    expected = outcome(copied(finished, tmp_path))
    run = Run(spec_of(tiny(tmp_path / "full", *STEPS, PARENT)))
    opened, left = Path.open, after

    def full(self: Path, mode: str = "r", *rest: Any, **kwargs: Any) -> Any:
        nonlocal left
        if self.name == name and mode[0] in "wa":
            left -= 1
            if left < 0:
                return opened(Path("/dev/full"), mode, *rest, **kwargs)
        return opened(self, mode, *rest, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(Unwritable) as caught:
            execute(run.spec)
    told = str(caught.value)
    assert told.startswith(f"cannot write {run.folder.parents[0]}")
    assert name.removesuffix(".part") in told
    assert "No space left on device; once there is room, the same command goes on" in told
    assert "\n" not in told
    assert not list((tmp_path / "full").rglob("*.part"))
    said: list[str] = []
    assert execute(run.spec, said.append).status == "finished"
    assert outcome(run) == expected


def test_a_full_disk_stops_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suexp.launch import processes as local

    begun = []

    def execute(spec: RunSpec, *_: Any) -> Summary:
        begun.append(spec.seed)
        raise Unwritable("cannot write x")

    monkeypatch.setattr("suexp.job.run.execute", execute)
    batch = [tiny(tmp_path, f"seed={seed}") for seed in (0, 1)]
    with pytest.raises(UserError, match="cannot write x"):
        local.run_all(batch, 0)
    assert begun == [0]


@pytest.mark.parametrize("written", [False, True])
def test_a_child_that_met_a_full_disk_stops_a_sweep(tmp_path: Path, written: bool) -> None:
    from suexp.errors import DISK_FULL
    from suexp.launch.processes import run_elsewhere

    begun = []

    class Child:
        def __init__(self, spec: RunSpec) -> None:
            run = Run(spec)
            begun.append(run.id)
            run.folder.mkdir(parents=True)
            if written:
                run.finish(Summary(run.folder, run.id, error="cannot write y"))

        def wait(self) -> int:
            return DISK_FULL

        def terminate(self) -> None:
            raise AssertionError("it has ended")

    batch = [tiny(tmp_path, f"seed={seed}") for seed in (0, 1)]
    told = "cannot write y" if written else f"cannot write to {tmp_path}.*: the disk is full"
    with pytest.raises(Unwritable, match=told):
        run_elsewhere(batch, 1, 1, Child, retries=2)
    assert len(begun) == 1


def test_a_cache_that_is_full_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suexp.data.cache import cached

    monkeypatch.setenv("SUEXP_CACHE", str(tmp_path))

    def build(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError(28, os.strerror(28))

    with pytest.raises(Unwritable, match=r"No space left on device; choose another .*SUEXP_CACHE"):
        cached("set", build)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["set.lock"]
