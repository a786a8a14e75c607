from pathlib import Path

import pytest
import torch

from suexp.code.instantiate import instantiate
from suexp.errors import UserError
from suexp.job.build import build
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.method.shift_inputs import ShiftInputs
from suexp.store.folder import Run
from suexp.task.base import Task

DIGITS = [
    "task=classification",
    "data=digits",
    "model=mlp",
    "model.dim=8",
    "optimizer=sgd",
    "scheduler=constant",
    "method=shift_inputs",
    "threads=1",
    "trainer.enable_progress_bar=false",
]


def built(*overrides: str) -> tuple[Task, dict[str, torch.Tensor], ShiftInputs]:
    config = spec_of([*DIGITS, *overrides]).config
    data = instantiate(config["data"])
    task = build(config, data)
    assert isinstance(task, Task)
    rows = data.splits()["train"]
    return task, data.collate([rows[i] for i in range(20)]), task.methods[0]


def test_each_kind() -> None:
    _, batch, method = built()
    x = method.changed(batch)["x"]
    torch.testing.assert_close(x, 1 - batch["x"])
    _, batch, method = built("method.shift_inputs.kind=permute_labels")
    label = method.changed(batch)["label"]
    pairs = set(zip(batch["label"].tolist(), label.tolist(), strict=True))
    assert len(pairs) == len(set(batch["label"].tolist())) == len(set(label.tolist()))
    assert any(a != b for a, b in pairs)
    _, batch, method = built("method.shift_inputs.kind=permute_inputs")
    x = method.changed(batch)["x"]
    assert not torch.equal(x, batch["x"])
    torch.testing.assert_close(x.sort().values, batch["x"].sort().values)
    _, _, again = built("method.shift_inputs.kind=permute_inputs")
    _, _, other = built("method.shift_inputs.kind=permute_inputs", "seed=1")
    assert torch.equal(again.changed(batch)["x"], x)
    assert not torch.equal(other.changed(batch)["x"], x)


def test_nothing_changes_before_its_step(tmp_path: Path) -> None:
    """Until then the run is the one without it, and so it ends where the shift comes too late."""
    ends = []
    for method in (
        ["~method"],
        ["method.shift_inputs.at_step=4"],
        ["method.shift_inputs.at_step=3"],
    ):
        base = [item for item in DIGITS if method != ["~method"] or item != "method=shift_inputs"]
        change = [] if method == ["~method"] else method
        spec = spec_of([*base, *change, "trainer.max_steps=4", f"out={tmp_path}"])
        assert execute(spec).status == "finished"
        state = torch.load(Run(spec).checkpoints()[0], weights_only=True)["state_dict"]
        ends.append(torch.cat([value.flatten() for value in state.values()]))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_texts_have_no_pixels_to_invert() -> None:
    text = ["task=classification", "data=docstring_topic", "data.tokenizer=bytes"]
    with pytest.raises(UserError, match="needs vectors: it changes x"):
        spec_of([*text, "method=shift_inputs"])
    spec_of([*text, "method=shift_inputs", "method.shift_inputs.kind=permute_labels"])
    with pytest.raises(UserError, match="needs labels"):
        spec_of(["method=shift_inputs"])


def test_refusals() -> None:
    with pytest.raises(ValueError, match="at_step must be at least 0"):
        ShiftInputs(-1)
    with pytest.raises(ValueError, match="high=-1 lies below low=0"):
        ShiftInputs(1, high=-1)
