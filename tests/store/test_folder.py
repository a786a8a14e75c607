import json
from pathlib import Path
from typing import Any

import pytest

from suexp.errors import UserError
from suexp.logger.jsonl import Jsonl
from suexp.store.folder import Run, read_history
from tests.support.processes import FORKS


def config(out: Path, **changes: object) -> dict[str, object]:
    data = {"_target_": "suexp.data.counter.Counter", "num_samples": 4, "batch_size": 2}
    return {"out": str(out), "seed": 0, "data": data, "trainer": {"max_steps": 3}, **changes}


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
    base = Run(config(tmp_path))
    assert Run(config(tmp_path, logger={"csv": {}}, threads=3, rerun=True)).id == base.id
    assert Run(config(tmp_path, seed=1)).id != base.id
    assert Run(config(tmp_path, trainer={"max_steps": 4})).id != base.id
    assert Run(config(tmp_path, parent=config(tmp_path))).id != base.id


def test_summary_ends_a_run(tmp_path: Path) -> None:
    run = Run(config(tmp_path))
    with run.lock():
        assert not run.finished
        run.finish({"status": "finished"})
        assert run.finished
        run.clear()
        assert run.summary() is None
    for damaged in (b'{"status": "fin', b"", b"\xff\x00", b"[]", b"{}"):
        run.folder.joinpath("summary.json").write_bytes(damaged)
        assert run.summary() is None


def test_a_finished_run_s_files_are_as_it_left_them(tmp_path: Path) -> None:
    run = Run(config(tmp_path))
    with run.lock():
        run.folder.joinpath("metrics.jsonl").write_text('{"step": 1, "a": 1.0}\n')
        run.finish({"status": "finished"})
        assert run.finished
        run.folder.joinpath("metrics.jsonl").write_text('{"step": 1, "a": 2.0}\n')
        assert not run.finished
        run.folder.joinpath("metrics.jsonl").unlink()
        assert not run.finished


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    run = Run(config(tmp_path))
    part = run.folder / "checkpoints" / "step=3.ckpt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    with run.lock():
        assert not part.exists()


def _hold(out: Path, ready: Any, seen: Any) -> None:
    with Run(config(out)).lock():
        ready.set()
        seen.wait(60)


def test_a_second_process_says_that_it_waits(tmp_path: Path) -> None:
    ready, seen = FORKS.Event(), FORKS.Event()
    process = FORKS.Process(target=_hold, args=(tmp_path, ready, seen))
    process.start()
    assert ready.wait(60)
    said: list[str] = []
    run = Run(config(tmp_path))

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
        Run(config(tmp_path / "file")).lock(),
    ):
        pass
