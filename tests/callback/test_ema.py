"""The average of the weights: by hand, what reads it, and that training does not notice."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback.ema import EMA
from suexp.config.compose import resolve
from suexp.errors import Misfit
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import tiny

SEEN: dict[str, list[Tensor]] = {}


class Weights(Callback):
    """Keeps the weights after each step, and those that are validated."""

    def keep(self, where: str, task: Any) -> None:
        SEEN.setdefault(where, []).append(task.model.norm.weight.detach().clone())

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.keep("trained", pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_) -> None:
        self.keep("trained", pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.keep("validated", pl_module)


def run_of(tmp_path: Path, *more: str) -> Run:
    SEEN.clear()
    steps = ("trainer.max_steps=4", "trainer.val_check_interval=2", "optimizer.lr=1e-2")
    own = ("allow_targets=[tests]", "+callbacks.own._target_=tests.callback.test_ema.Weights")
    spec = spec_of(tiny(tmp_path, *steps, *more, *own))
    assert execute(spec).finished
    return Run(spec)


def left(run: Run) -> Tensor:
    state = torch.load(run.checkpoints()[0], weights_only=True)["state_dict"]
    return state["model.norm.weight"]


@pytest.mark.slow
def test_the_average_by_hand_and_who_reads_it(tmp_path: Path) -> None:
    run_of(tmp_path, "callback=none")
    plain = SEEN["trained"]
    run = run_of(tmp_path, "callback=ema", "callbacks.ema.decay=0.75")
    assert all(map(torch.equal, SEEN["trained"], plain))  # training does not notice
    average, averages = plain[0].double(), []
    for weight in plain[1:]:
        average = 0.75 * average + 0.25 * weight.double()
        averages.append(average.float())
    torch.testing.assert_close(SEEN["validated"][0], averages[1])
    torch.testing.assert_close(SEEN["validated"][-1], averages[3])
    torch.testing.assert_close(left(run), averages[3])
    assert not torch.equal(left(run), plain[-1])


@pytest.mark.slow
def test_accumulated_batches_make_one_step(tmp_path: Path) -> None:
    accumulate = ("trainer.accumulate_grad_batches=2",)
    run_of(tmp_path, "callback=none", *accumulate)
    plain = SEEN["trained"]
    run = run_of(tmp_path, "callback=ema", "callbacks.ema.decay=0.5", *accumulate)
    average = plain[0]
    for weight in plain[1:]:
        average = (average + weight) / 2
    torch.testing.assert_close(left(run), average)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\)"):
        EMA(1)
    with pytest.raises(Misfit, match=r"the generator has an average of its own; set task\.ema_dec"):
        resolve(["task=adversarial", "callback=ema"])
