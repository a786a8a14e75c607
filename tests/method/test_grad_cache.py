"""Chunked gradients of contrastive losses: exact where they should be, and wrong where not."""

import math
import os
import signal
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.checkpoint import Interrupted
from suexp.job.recorder import Recorder
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.method import GradCache, NaiveAccumulation
from suexp.method._chunked import direct_gradient
from suexp.nn.flops import counted
from suexp.nn.passes import RandomState
from suexp.store.folder import Run
from tests.method.toy import COSINE, cosine, error, gradient, toy
from tests.support.processes import two_processes

LOSSES = [
    {},
    COSINE,
    COSINE | {"layout": "two_tower", "towers": 2},
    COSINE | {"layout": "two_tower", "towers": 2, "learnable": True},
    {"flat": True},
]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size", [1, 3, 8, 64, 100])
def test_gradient_of_chunks_is_that_of_the_batch(loss: dict[str, Any], size: int) -> None:
    expected_loss, expected = gradient(*toy(**loss))
    found_loss, found = gradient(*toy(GradCache(size), **loss))
    torch.testing.assert_close(found_loss, expected_loss)
    assert all(g is not None for g in found)
    assert error(found, expected) < 1e-12


def test_closed_form_of_the_post() -> None:
    task, batch = toy()
    _, expected = gradient(task, batch)
    h = task.encode(batch)["a"]
    with torch.no_grad():
        p = (h @ h.T).fill_diagonal_(-math.inf).softmax(1)
        t = torch.eye(64, dtype=h.dtype)[torch.arange(64) ^ 1]
        label = 2 * ((p + p.T) / 2 - t) @ h / 64  # the post sums, we take the mean
    found = torch.autograd.grad((h * label).sum(), list(task.parameters()))
    assert error(list(found), expected) < 1e-12


def reference(task: Any, batch: dict[str, Tensor], size: int) -> list[Any]:
    torch.manual_seed(1)
    return direct_gradient(task, batch, list(task.parameters()), RandomState(batch), size)[1]


def test_dropout_is_replayed() -> None:
    task, batch = toy(GradCache(8), extra=[nn.Dropout(0.1)])
    _, found = gradient(task, batch)
    after = torch.get_rng_state()
    assert error(found, reference(task, batch, 8)) < 1e-12
    # The generators go on from the first pass, so that no two steps draw alike.
    torch.manual_seed(1)
    for _ in range(8):
        task.model[0](batch["x"][:8])
    assert torch.equal(torch.get_rng_state(), after)


def test_without_replay_dropout_makes_the_gradient_wrong() -> None:
    with pytest.warns(UserWarning, match="draw different masks, so the gradient is wrong"):
        task, batch = toy(GradCache(8, replay_rng=False), extra=[nn.Dropout(0.1)])
    _, found = gradient(task, batch)
    expected = reference(task, batch, 8)
    assert error(found, expected) > 0.1
    assert 0.5 < cosine(found, expected) < 0.99


def test_without_dropout_nothing_need_be_replayed() -> None:
    _, expected = gradient(*toy())
    _, found = gradient(*toy(GradCache(8, replay_rng=False)))
    assert error(found, expected) < 1e-12


def test_batch_norm_is_refused_or_wrong() -> None:
    with pytest.raises(ValueError, match=r"batch norm \(model.0.1\) would be per chunk"):
        toy(GradCache(8), extra=[nn.BatchNorm1d(32)])
    task, batch = toy(GradCache(8, allow_batch_norm=True), extra=[nn.BatchNorm1d(32)])
    _, found = gradient(task, batch)
    assert task.model[0][1].num_batches_tracked == 16  # eight chunks, twice
    direct, batch = toy(extra=[nn.BatchNorm1d(32)])
    _, expected = gradient(direct, batch)
    assert error(found, expected) > 0.1


def test_the_surrogate_is_not_the_loss() -> None:
    method = GradCache(8)
    loss, _ = gradient(*toy(method))
    assert method.surrogate is not None
    assert abs(method.surrogate - loss) > 0.1 * loss
    loss, _ = gradient(*toy(method, **COSINE))
    assert loss > 1
    assert abs(method.surrogate) < 1e-12  # the cosine does not depend on lengths


def test_the_first_pass_may_take_more_rows() -> None:
    _, expected = gradient(*toy())
    _, found = gradient(*toy(GradCache(8, forward_chunk_size=32)))
    assert error(found, expected) < 1e-12
    task, batch = toy(GradCache(8, forward_chunk_size=32), extra=[nn.Dropout(0.1)])
    with pytest.raises(ValueError, match="leave forward_chunk_size=32 out"):
        gradient(task, batch)


def test_check_records_the_error_of_the_first_step() -> None:
    task, batch = toy(GradCache(8, check=True), extra=[nn.Dropout(0.1)])
    plain, _ = toy(GradCache(8), extra=[nn.Dropout(0.1)])
    _, found = gradient(task, batch)
    after = torch.get_rng_state()
    _, expected = gradient(plain, batch)
    assert task.final["grad_cache/rel_error"] < 1e-12
    assert error(found, expected) == 0
    assert torch.equal(torch.get_rng_state(), after)
    naive, batch = toy(GradCache(8, check=True, allow_batch_norm=True), extra=[nn.BatchNorm1d(32)])
    gradient(naive, batch)
    assert naive.final["grad_cache/rel_error"] > 0.1


def test_a_frozen_part_is_left_alone() -> None:
    task, batch = toy(GradCache(8), towers=2, layout="two_tower")
    task.model[1].requires_grad_(False)
    _, found = gradient(task, batch)
    direct, _ = toy(towers=2, layout="two_tower")
    _, expected = gradient(direct, batch)
    assert all(g is None for g in found[4:])
    assert error(found[:4], expected[:4]) < 1e-12


@pytest.mark.parametrize("method", [GradCache(8), NaiveAccumulation(8)])
def test_a_scaled_loss_has_scaled_gradients(method: Any) -> None:
    task, batch = toy(method)
    _, expected = gradient(task, batch)
    task.zero_grad()
    task.backward(task.training_step(batch, 0) * 1024)
    assert error([p.grad / 1024 for p in task.parameters()], expected) < 1e-12


@pytest.mark.parametrize("method", [GradCache(8), NaiveAccumulation(8)])
def test_without_gradients_it_is_the_plain_loss(method: Any) -> None:
    task, batch = toy(method)
    with torch.no_grad():
        assert torch.equal(task.training_step(batch, 0), task.objective(batch))


def test_autocast_is_alike_in_both_passes() -> None:
    task, batch = toy(GradCache(8), towers=2, layout="two_tower", **COSINE)
    direct, _ = toy(towers=2, layout="two_tower", **COSINE)
    batch = {"x": batch["x"].float()}
    found, expected = [], []
    for one, grads in ((task.float(), found), (direct.float(), expected)):
        with torch.autocast("cpu", torch.bfloat16):
            loss = one.training_step(batch, 0)
        one.backward(loss)
        grads += [p.grad for p in one.parameters()]
    # Products of bfloat16 sum up in float32 within a chunk, so only their sums differ.
    assert error(found, expected) < 1e-2
    assert all(g.count_nonzero() > 0 for g in found)


def test_memory_of_one_chunk() -> None:
    saved: list[int] = []
    live: dict[int, int] = {}

    class Held:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor
            live[id(self)] = tensor.numel()

        def __del__(self) -> None:
            live.pop(id(self))

    def pack(tensor: Tensor) -> Held:
        held = Held(tensor)
        saved.append(sum(live.values()))
        return held

    for size in (8, 64):
        task, batch = toy(GradCache(size))
        task.loss.forward = lambda a, b: a.square().sum()  # the encoder's memory alone
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
            gradient(task, batch)
    parameters = 10 * 32 + 32 + 32 * 8 + 8
    chunked, whole = max(saved[: len(saved) // 9 * 8]), max(saved)
    assert chunked - parameters < (whole - parameters) / 4


RUN = [
    "task=matching",
    "model=bag_encoder",
    "model.dim=8",
    "data.tokenizer=bytes",
    "data.block_size=12",
    "data.batch_size=20",
    "trainer=cpu",
    "trainer.max_steps=6",
    "trainer.val_check_interval=6",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
    "threads=1",
    "optimizer.lr=1e-2",
    "loss.learnable=true",
]
CACHE = ["method=grad_cache", "method.grad_cache.chunk_size=6"]


def weights(config: dict[str, Any]) -> dict[str, Tensor]:
    state = torch.load(Run(config).checkpoints()[0], weights_only=True)["state_dict"]
    return {name: value for name, value in state.items() if value.is_floating_point()}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_run_in_chunks_is_the_run_in_whole(tmp_path: Path, precision: str) -> None:
    extra = [f"out={tmp_path}", f"trainer.precision={precision}"]
    configs = [spec_of([*RUN, *extra, *method]) for method in ([], CACHE)]
    for config in configs:
        summary = execute(config)
        assert summary.status == "finished", summary.error
    direct, cached = map(weights, configs)
    tolerance = 1e-5 if precision == "32-true" else 3e-2
    for name, value in direct.items():
        torch.testing.assert_close(cached[name], value, atol=tolerance, rtol=tolerance)
    assert float(direct["loss.log_scale"]) != pytest.approx(math.log(20), abs=1e-3)


@pytest.mark.slow
def test_the_logged_loss_is_the_loss(tmp_path: Path) -> None:
    extra = [f"out={tmp_path}", "trainer.max_steps=1"]
    losses = []
    for method in ([], CACHE, ["method=naive_accumulation"]):
        summary = execute(spec_of([*RUN, *extra, *method]))
        assert summary.status == "finished", summary.error
        losses.append(summary.metrics["train/loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] < 0.95 * losses[0]  # fewer candidates


@pytest.mark.slow
def test_an_interrupted_run_goes_on_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = [*CACHE, "model.dropout=0.2"]
    whole = spec_of([*RUN, *method, f"out={tmp_path / 'whole'}"])
    execute(whole)
    parts = spec_of([*RUN, *method, f"out={tmp_path / 'parts'}"])
    after_step = Recorder.on_train_batch_end

    def stop(self: Any, trainer: Any, *rest: Any) -> None:
        after_step(self, trainer, *rest)
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "on_train_batch_end", stop)
        with pytest.raises(Interrupted):
            execute(parts)
    assert execute(parts).cost["steps"] == 6
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(parts)[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("method", [CACHE, []], ids=["grad_cache", "direct"])
def test_two_processes_contrast_the_batch_of_both(tmp_path: Path, method: list[str]) -> None:
    single = spec_of([*RUN, f"out={tmp_path / 'one'}"])
    assert execute(single).status == "finished"
    two = [item for item in RUN if item != "trainer=cpu"]
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", f"out={tmp_path / 'two'}"]
    several = spec_of([*two, *ddp, *method])
    assert two_processes(several).status == "finished"
    for name, value in weights(single).items():
        torch.testing.assert_close(weights(several)[name], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=grad_cache"], "method=grad_cache needs loss on vectors: .*accumulate_grad_"),
        (
            ["task=matching", "method=grad_cache", "trainer=fsdp"],
            "method=grad_cache cannot be combined with trainer=fsdp: .*use trainer=ddp",
        ),
        (
            ["task=matching", "method=[grad_cache,naive_accumulation]"],
            "cannot be combined with method=",
        ),
        (
            ["task=matching", "method=grad_cache", "trainer.accumulate_grad_batches=2"],
            "trainer.accumulate_grad_batches=2 and method=grad_cache: accumulate once",
        ),
    ],
)
def test_refused_when_composed(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(overrides)


def test_refuses_sizes_and_tasks() -> None:
    with pytest.raises(ValueError, match="chunk_size must be at least 1, not 0"):
        GradCache(0)
    with pytest.raises(ValueError, match="forward_chunk_size must be at least 1, not 0"):
        GradCache(8, 0)
    task, _ = toy()
    from suexp.task.classification import Classification

    plain = Classification(
        model=task.model, loss=None, optimizer=None, scheduler=None, data=task.data
    )
    with pytest.raises(ValueError, match="Classification has a per-sample loss, use trainer"):
        plain.wrap([GradCache()])


def test_no_warning_with_replay() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        toy(GradCache(8), extra=[nn.Dropout(0.1)])


def test_costs_one_more_forward_pass() -> None:
    (plain, batch), (cached, _) = toy(), toy(GradCache(8))
    counts = []
    for pass_ in (lambda: plain.rehearse(batch), lambda: cached.rehearse(batch)):
        with counted() as counter:
            pass_()
        counts.append(counter.get_total_flops())
    assert counts[1] - counts[0] == 2 * 64 * (10 * 32 + 32 * 8)
