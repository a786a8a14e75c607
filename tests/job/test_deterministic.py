"""trainer.deterministic: the same bits either way on a CPU, and no flag left behind."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import Callback

from suexp.cli.rerunning import MACHINES_OWN
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.summary import Summary
from tests.support.tiny import tiny


class Put(Callback):
    """Does what has no deterministic form, on a CPU neither."""

    def on_train_batch_start(self, *_: Any) -> None:
        torch.zeros(2).put_(torch.tensor([0]), torch.tensor([1.0]))


def run(out: Path, mode: str, *overrides: str) -> Summary:
    steps = ("trainer.max_steps=2", "trainer.val_check_interval=2")
    own = [*steps, f"trainer.deterministic={mode}", f"allow_targets=[{__name__}]", *overrides]
    return execute(spec_of(tiny(out, *own)))


@pytest.mark.slow
def test_the_same_bits_either_way(tmp_path: Path) -> None:
    seen = []
    for mode, before in (("false", True), ("warn", False)):
        torch.use_deterministic_algorithms(before)
        try:
            seen.append(run(tmp_path, mode).metrics)
            assert torch.are_deterministic_algorithms_enabled() == before
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
        finally:
            torch.use_deterministic_algorithms(False)
    off, on = ({k: v for k, v in m.items() if not MACHINES_OWN.search(k)} for m in seen)
    assert off == on
    assert "val/loss" in on


@pytest.mark.slow
def test_an_operation_without_a_deterministic_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put = f"+callbacks.put._target_={__name__}.Put"
    summary = run(tmp_path, "true", put)
    assert summary.status == "failed"
    assert summary.mistake
    assert summary.error == "put_ has no deterministic form; set trainer.deterministic=warn"
    assert "Traceback" not in capsys.readouterr().err
    with pytest.warns(UserWarning, match="put_ does not have a deterministic implementation"):
        assert run(tmp_path, "warn", put).status == "finished"
