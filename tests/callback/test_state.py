"""What callbacks keep in a checkpoint gives the same final metrics and rows."""

import importlib
import inspect
import pkgutil

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

import suexp.callback
from suexp.code.instantiate import instantiate
from suexp.job.build import build
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.task.base import Task
from tests.support.tiny import TINY

STATEFUL = {
    name
    for module in pkgutil.iter_modules(suexp.callback.__path__, "suexp.callback.")
    for name, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
    if issubclass(found, Callback) and found.state_dict is not Callback.state_dict
}
ENDS = {  # the hook in which each writes down what it has kept, and only that
    "GradientError": "on_train_end",
    "GradientNorm": "on_validation_epoch_end",
    "LayerMoments": "on_validation_epoch_end",
    "Shadow": "on_train_end",
    "Smoothness": "on_train_end",
    "StepCost": "on_train_end",
    "UpdateSize": "on_train_end",
}
TEXT = (
    "callback=[attention_stats,gradient_norm,shadow,smoothness,step_cost,update_size]",
    "trainer.gradient_clip_val=null",
    "callbacks.shadow.every=2",
    "callbacks.smoothness.every=2",
    "callbacks.attention_stats.at_start=true",
    "callbacks.step_cost.every=2",
    "callbacks.update_size.every=2",
)
VECTORS = (
    *("task=classification", "data=digits", "model=mlp", "model.dim=16", "trainer=cpu"),
    *("threads=1", "trainer.enable_progress_bar=false", "trainer.val_check_interval=4"),
    "callback=layer_moments",
)
PAIRS = (
    *("task=matching", "model=bag_encoder", "model.dim=16", "data.tokenizer=bytes"),
    *("data.block_size=16", "data.batch_size=8", "trainer=cpu", "threads=1"),
    *("trainer.enable_progress_bar=false", "trainer.val_check_interval=4"),
    *("callback=gradient_error", "callbacks.gradient_error.every=2"),
)


@pytest.fixture(
    scope="module", params=[(*TINY, *TEXT), PAIRS, VECTORS], ids=["text", "pairs", "vectors"]
)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("finished")
    run = Run(spec_of([*request.param, "trainer.max_steps=4", f"out={out}"]))
    summary = execute(run.spec)
    assert summary.status == "finished", summary.error
    return run


def test_all_that_keep_a_state_are_looked_at() -> None:
    # The last two in tests of their own, and in those of runs that are killed and go on.
    assert {*ENDS, "AttentionStats", "PathKernel", "EMA"} == STATEFUL


def test_a_restored_callback_ends_as_the_one_that_was_saved(finished: Run) -> None:
    states = torch.load(finished.checkpoints()[0], weights_only=True)["callbacks"]
    task = build(finished.config, instantiate(finished.config["data"]))
    assert isinstance(task, Task)
    trainer = pl.Trainer(max_steps=-1, logger=False, barebones=True)
    names = {node["_target_"].rpartition(".")[2] for node in finished.config["callbacks"].values()}
    for node in finished.config["callbacks"].values():
        callback = instantiate(node)
        name = type(callback).__name__
        callback.load_state_dict(states[name])
        assert callback.state_dict() == states[name]
        assert any(states[name].values())
        if name in ENDS:
            getattr(callback, ENDS[name])(trainer, task)
    summary = finished.summary()
    assert summary is not None
    metrics = summary.metrics
    assert task.final
    assert task.final == {name: metrics[name] for name in task.final}
    tables = finished.tables()
    assert task.tables == {name: tables[name] for name in task.tables}
    assert ("update" in task.tables) == ("UpdateSize" in names)
