import json
from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.callback.lengths import Lengths
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import tiny, unchecked

LENGTHS = "callback=lengths"


def run(tmp_path: Path, *overrides: str) -> tuple[dict[str, Any], Run]:
    settings = tiny(tmp_path, LENGTHS, *overrides)
    if "task=masked_lm" in overrides:
        settings.remove("task.sample_tokens=0")
    config = spec_of(settings)
    return execute(config), Run(config)


def test_at_the_length_of_training_it_is_the_validation_loss(tmp_path: Path) -> None:
    summary, stored = run(
        tmp_path,
        "callbacks.lengths.lengths=[16,32]",
        "callbacks.lengths.windows=4",
        "trainer.limit_val_batches=1",
        "data.eval_batch_size=8",  # the same 8 blocks of 16 as 4 windows of 32
    )
    metrics = summary.metrics
    assert metrics["val/loss_n16"] == pytest.approx(metrics["val/loss"], rel=1e-6)
    assert metrics["val/loss_n32"] != pytest.approx(metrics["val/loss_n16"], rel=1e-4)
    rows = stored.tables()["lengths"]
    assert [row["length"] for row in rows] == [16, 32]
    assert rows[1]["loss"] == metrics["val/loss_n32"]
    assert rows[1]["accuracy"] == metrics["val/accuracy_n32"]


def test_with_score_last_a_window_reads_no_more_than_its_size(tmp_path: Path) -> None:
    """One layer: the last 4 of 32 see through a window of 8 what they see of 16 and of 32."""
    summary, _ = run(
        tmp_path,
        "callbacks.lengths.lengths=[16,24,32]",
        "callbacks.lengths.score_last=4",
        "mask=window",
        "mask.size=8",
        "model.num_layers=1",
        "trainer.max_steps=3",
    )
    metrics = summary.metrics
    assert metrics["val/loss_n24"] == pytest.approx(metrics["val/loss_n16"], rel=1e-5)
    assert metrics["val/loss_n32"] == pytest.approx(metrics["val/loss_n16"], rel=1e-5)


def test_masked_tokens_are_the_same_at_every_length(tmp_path: Path) -> None:
    """A window of one token reads no context, so that the length cannot matter."""
    summary, _ = run(
        tmp_path,
        "task=masked_lm",
        "mask=window",
        "mask.size=1",
        "mask.causal=false",
        "trainer.max_steps=3",
        "callbacks.lengths.lengths=[16,32,64]",
    )
    metrics = summary.metrics
    assert metrics["val/loss_n64"] == pytest.approx(metrics["val/loss_n16"], rel=1e-5)
    assert metrics["val/accuracy_n32"] == metrics["val/accuracy_n16"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["position=learned", "position.max_length=16"], "longer than the 16 positions of Learned"),
        (["mask=prefix", "mask.length=4"], "cuts texts, which have no prefix; use mask=causal"),
        (["task=classification", "data=digits", "model=mlp"], "use task=causal_lm or task=masked"),
        (["callbacks.lengths.score_last=17"], "score_last=17 must be from 1 to the least length"),
        (["callbacks.lengths.lengths=[16,24]"], "length 16 does not divide 24: set score_last"),
        (["callbacks.lengths.lengths=[1000000]"], "fewer than the length 1000000; lower"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    settings = [x for x in tiny(tmp_path) if overrides[0][:5] != "task=" or "model" not in x]
    settings = [x for x in settings if overrides[0][:5] != "task=" or not x.startswith("data")]
    settings = [x for x in settings if overrides[0][:5] != "task=" or not x.startswith("task")]
    own = {"lengths": [16, 32]}
    for item in [item for item in overrides if item.startswith("callbacks.")]:
        key, _, value = item.partition("=")
        own[key.rpartition(".")[2]] = json.loads(value)
    more = [item for item in overrides if not item.startswith("callbacks.")]
    settings += [*more, "trainer.max_steps=1"]
    summary = execute(unchecked(settings, "lengths", **own))
    assert summary.status == "failed"
    assert message in summary.error
    assert summary.mistake or "ValueError" in summary.error


def test_windows_overlap_by_one_token() -> None:
    class Rows:
        def __getitem__(self, what: slice) -> dict[str, Any]:
            stream = torch.arange(13)
            return {"tokens": stream.unfold(0, 4, 3)[what]}

    windows = Lengths([2, 6])._windows(Rows())  # type: ignore[arg-type]
    assert windows.tolist() == [[0, 1, 2, 3, 4, 5, 6], [6, 7, 8, 9, 10, 11, 12]]


def test_the_entropy_grows_with_the_keys_that_are_seen(tmp_path: Path) -> None:
    settings = ("callbacks.lengths.entropy=true", "callbacks.lengths.lengths=[16,32]")
    summary, _ = run(tmp_path, *settings, "mask=window", "mask.size=1")
    metrics = summary.metrics
    assert metrics["val/attention_entropy_n16"] == pytest.approx(0, abs=1e-6)
    summary, stored = run(tmp_path, *settings)
    metrics = summary.metrics
    assert 0 < metrics["val/attention_entropy_n16"] < metrics["val/attention_entropy_n32"]
    rows = stored.tables()["lengths"]
    assert rows[1]["attention_entropy"] == metrics["val/attention_entropy_n32"]
