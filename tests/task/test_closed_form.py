import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from suexp.data.base import Data
from suexp.errors import UserError
from suexp.job.batches import EpochSampler
from suexp.method.base import Method
from suexp.task.closed_form import ClosedForm

ROWS = torch.arange(10.0).view(10, 1)


class Mean(ClosedForm):
    """The mean, and in a second pass the mean square around it."""

    def __init__(self, passes=1):
        super().__init__(
            model=nn.Linear(1, 1), loss=None, optimizer=None, scheduler=None, data=Data()
        )
        self.passes = passes
        self.modes = []

    def accumulate(self, batch):
        self.modes.append(self.model.training)
        x = self.widened(batch["x"])
        if self.pass_number == 0:
            self.sums["sum"] = self.sums.get("sum", 0) + x.sum()
            self.sums["count"] = self.sums.get("count", 0) + torch.tensor(len(x))
        else:
            mean = self.sums["sum"] / self.sums["count"]
            self.sums["square"] = self.sums.get("square", 0) + (x - mean).square().sum()

    def solve(self):
        sums = self.joined()
        self.model.bias.fill_(sums["sum"] / sums["count"])
        if "square" in sums:
            self.model.weight.fill_(sums["square"] / sums["count"])


def fit(task, path=None, **settings):
    settings = task.trainer_settings({"max_steps": 600, "gradient_clip_val": 1.0, **settings})
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **settings,
    )
    loader = torch.utils.data.DataLoader([{"x": row} for row in ROWS], batch_size=4)
    trainer.fit(task, loader, ckpt_path=path)
    return trainer


def test_one_pass_counts_batches_as_steps():
    task = Mean()
    trainer = fit(task)
    assert task.model.bias.item() == 4.5
    assert trainer.global_step == 3
    assert task.modes == [False] * 3
    assert task.model.training
    assert task.sums == {}


def test_two_passes():
    task = Mean(passes=2)
    trainer = fit(task)
    assert task.model.weight.item() == 8.25
    assert trainer.global_step == 6


def test_sums_and_weights_are_in_the_checkpoint_of_every_batch(tmp_path):
    class Save(pl.Callback):
        def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
            assert outputs == {}
            trainer.save_checkpoint(tmp_path / f"{trainer.global_step}.ckpt")

    task = Mean()
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[Save()],
        **task.trainer_settings({}),
    )
    trainer.fit(task, torch.utils.data.DataLoader([{"x": row} for row in ROWS], batch_size=4))
    middle, end = (torch.load(tmp_path / f"{step}.ckpt", weights_only=True) for step in (2, 3))
    assert middle["sums"] == {"sum": torch.tensor(28.0), "count": torch.tensor(8)}
    assert middle["sums"]["sum"].dtype == torch.float64
    assert end["state_dict"]["model.bias"] == 4.5


def test_refuses_other_numbers_of_passes():
    with pytest.raises(UserError, match=r"^sufficient statistics need 1 pass, not trainer\.max_ep"):
        Mean().trainer_settings({"max_epochs": 3})
    assert Mean().trainer_settings({"max_steps": 0})["max_steps"] == 0


def test_refuses_methods():
    with pytest.raises(ValueError, match="wraps a training step"):
        Mean().wrap([Method()])


def test_rehearsal_leaves_no_trace():
    task = Mean()
    task.rehearse({"x": ROWS})
    assert task.sums == {}


@pytest.mark.parametrize(
    ("rows", "size", "world", "lengths"),
    [
        (10, 4, 1, [4, 4, 2]),
        (9, 4, 2, [2, 3]),
        (10, 4, 2, [2, 2, 1]),
        (3, 4, 1, [3]),
        (8, 4, 1, [4, 4]),
    ],
)
def test_whole_epochs(rows, size, world, lengths):
    read = []
    for rank in range(world):
        sampler = EpochSampler(rows, size, seed=0)
        sampler.whole, sampler.rank, sampler.world_size = True, rank, world
        batches = list(sampler)
        assert len(batches) == len(sampler) == len(lengths)
        read += [row for batch in batches for row in batch]
        if rank == 0:
            assert [len(batch) for batch in batches] == lengths
    assert sorted(read) == list(range(rows))
