import json
from pathlib import Path
from typing import Any

import pytest

from suexp.errors import UserError
from suexp.launch.saved_config import save
from suexp.logger.jsonl import Jsonl
from suexp.store.folder import RECORDS, Run, read_history, write_atomic
from suexp.store.query import Stored
from suexp.store.spec import RunSpec
from suexp.store.summary import Status, Summary
from tests.support.processes import FORKS


def config(out: Path, **changes: object) -> dict[str, object]:
    data = {"_target_": "suexp.data.counter.Counter", "num_samples": 4, "batch_size": 2}
    own = {"out": str(out), "seed": 0, "data": data, "trainer": {"max_steps": 3}}
    return {**own, "allow_targets": [], "threads": None, **changes}


def run_of(out: Path, **changes: object) -> Run:
    return Run(RunSpec.of(config(out, **changes)))


def test_a_repeated_step_replaces_itself(tmp_path: Path) -> None:
    log = Jsonl(tmp_path)
    log.log_metrics({"train/loss": 3.0}, 1)
    log.log_metrics({"train/loss": 2.0}, 2)
    log.log_metrics({"val/loss": 9.0, "epoch": 0}, 2)
    log.log_metrics({"train/loss": 1.5}, 2)
    assert read_history(tmp_path / "metrics.jsonl") == [
        {"step": 1, "train/loss": 3.0},
        {"step": 2, "train/loss": 1.5, "val/loss": 9.0},
    ]


def test_what_is_no_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        b'{"step": 1, "a": 1.0}\n\xff\xfe\x00{\n7\n{"step": 3, "a": 3.0}\n{"step": 4, "'
    )
    assert read_history(path) == [{"step": 1, "a": 1.0}, {"step": 3, "a": 3.0}]


def test_values_that_json_has_no_word_for(tmp_path: Path) -> None:
    Jsonl(tmp_path).log_metrics({"a": float("inf")}, 1)
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "a": "inf"}


def test_volatile_keys_do_not_change_the_run(tmp_path: Path) -> None:
    base = run_of(tmp_path)
    assert run_of(tmp_path, logger={"csv": {}}, threads=3, rerun=True).id == base.id
    assert run_of(tmp_path, seed=1).id != base.id
    assert run_of(tmp_path, trainer={"max_steps": 4}).id != base.id
    assert run_of(tmp_path, parent=config(tmp_path)).id != base.id


def test_summary_ends_a_run(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    with run.lock():
        assert not run.finished
        run.finish(Summary(run.folder, run.id, Status.FINISHED))
        assert run.finished
        run.clear()
        assert run.summary() is None
    for damaged in (b'{"status": "fin', b"", b"\xff\x00", b"[]", b"{}"):
        run.folder.joinpath("summary.json").write_bytes(damaged)
        assert run.summary() is None


def test_a_finished_run_s_files_are_as_it_left_them(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    with run.lock():
        run.start(threads=1)
        run.folder.joinpath("metrics.jsonl").write_text('{"step": 1, "a": 1.0}\n')
        run.write_table([{"table": "t", "x": 1.0}])
        run.finish(Summary(run.folder, run.id, Status.FINISHED, metrics={"a": 1.0}))
        assert run.finished
        for name in (*RECORDS, "summary.json"):
            path = run.folder / name
            content = path.read_bytes()
            path.write_bytes(content.replace(b"e", b"E", 1))
            assert not run.finished, name
            path.unlink()
            assert not run.finished, name
            path.write_bytes(content)
        assert run.finished


def test_an_edited_summary_is_no_summary(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    with run.lock():
        metrics = {"val/loss": float("nan"), "b": 0.1 + 0.2}
        run.finish(Summary(run.folder, run.id, metrics=metrics))
    found = run.summary()
    assert found is not None
    assert found.metrics["b"] == 0.30000000000000004
    path = run.folder / "summary.json"
    path.write_text(path.read_text().replace('"failed"', '"finished"'))
    assert run.summary() is None


def test_a_run_that_has_a_checkpoint_keeps_its_number_of_threads(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    with run.lock():
        assert run.threads() is None
        run.start(threads=3)
        assert run.threads() is None  # nothing was computed with them that is left
        (run.folder / "checkpoints").mkdir()
        (run.folder / "checkpoints" / "step=1.ckpt").touch()
        assert run.threads() == 3
        run.folder.joinpath("begun.json").write_text("{")
        assert run.threads() is None


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    part = run.folder / "checkpoints" / "step=3.ckpt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    with run.lock():
        assert not part.exists()


def _hold(out: Path, ready: Any, seen: Any) -> None:
    with run_of(out).lock():
        ready.set()
        seen.wait(60)


@pytest.mark.slow
def test_a_second_process_says_that_it_waits(tmp_path: Path) -> None:
    ready, seen = FORKS.Event(), FORKS.Event()
    process = FORKS.Process(target=_hold, args=(tmp_path, ready, seen))
    process.start()
    assert ready.wait(60)
    said: list[str] = []
    run = run_of(tmp_path)

    def note(text: str) -> None:
        said.append(text)
        seen.set()

    with run.lock(note):
        assert said == [f"run {run.id} is being run by another process; waiting for it"]
    process.join()
    assert process.exitcode == 0


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot write to .*file.*out=DIR"),
        run_of(tmp_path / "file").lock(),
    ):
        pass


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "file").write_text("mine")
    for name in ("metrics.jsonl", "config.yaml", ".lock", "checkpoints"):
        run = run_of(tmp_path / name)
        run.folder.mkdir(parents=True)
        (run.folder / name).symlink_to(own if name == "checkpoints" else own / "file")
        with (
            pytest.raises(UserError, match="is a link, and suexp makes none; remove it"),
            run.lock(),
        ):
            pass
        with pytest.raises(UserError, match="is a link"):
            save(run.spec)
    run = run_of(tmp_path)
    run.folder.parent.mkdir(parents=True)
    run.folder.symlink_to(own)  # rerun=true would empty it
    with pytest.raises(UserError, match=f"{run.id} is a link"), run.lock():
        pass
    Stored(run.folder).remove()
    assert not run.folder.exists()
    (tmp_path / "report.md.part").symlink_to(own / "file")
    (tmp_path / "report.md").symlink_to(own / "file")
    write_atomic(tmp_path / "report.md", "new")
    assert (tmp_path / "report.md").read_text() == "new"
    assert [path.name for path in own.iterdir()] == ["file"]
    assert (own / "file").read_text() == "mine"
