"""The sum over training rows against the network itself, torch.func's recipe, and theory."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from sklearn.svm import LinearSVC
from torch import Tensor
from torch.func import functional_call, jacrev, vmap

from suexp.callback.path_kernel import PathKernel
from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.build import build
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.store.summary import Summary

BASE = (
    *("task=classification", "data=sklearn", "model=mlp", "model.activation=tanh"),
    *("model.dim=8", "model.num_layers=1", "model.norm=null", "optimizer=sgd"),
    *("optimizer.momentum=0", "optimizer.lr=0.1", "scheduler=constant", "trainer=cpu"),
    *("trainer.gradient_clip_val=null", "trainer.precision=64-true", "threads=1"),
    *("trainer.max_steps=20", "trainer.val_check_interval=1000", "callback=path_kernel"),
    *("trainer.enable_progress_bar=false", "data.max_rows=40", "data.batch_size=10000"),
    "callbacks.path_kernel.probe=12",
)


def ran(out: Path, *own: str) -> tuple[Summary, dict[str, Tensor], Run]:
    """Run; return the summary and what the callback kept."""
    spec = spec_of([*BASE, *own, f"out={out}"])
    summary = execute(spec)
    assert summary.status == "finished", summary.error
    run = Run(spec)
    kept = torch.load(run.checkpoints()[0], weights_only=True)["callbacks"]["PathKernel"]
    return summary, kept["sums"], run


@pytest.mark.slow
@pytest.mark.parametrize("lr", [0.1, 3.0])
def test_a_linear_model_is_exactly_a_machine_with_constants(tmp_path: Path, lr: float) -> None:
    own = ("model.num_layers=0", f"optimizer.lr={lr}")
    summary, sums, _ = ran(tmp_path, *own)
    assert summary.metrics["path/reconstruction_error"] < 1e-12
    assert summary.metrics["path/alpha_spread"] < 1e-12
    assert summary.metrics["path/constant_alpha_error"] < 1e-12
    assert summary.metrics["path/kernel_drift"] == 0
    assert sums["time"].item() == pytest.approx(20 * lr)


@pytest.mark.slow
def test_half_the_step_halves_the_error(tmp_path: Path) -> None:
    errors = {}
    for lr, steps in ((0.1, 40), (0.05, 80), (0.025, 160)):
        summary, _, _ = ran(tmp_path, f"optimizer.lr={lr}", f"trainer.max_steps={steps}")
        errors[lr] = summary.metrics["path/reconstruction_error"]
    for lr in (0.1, 0.05):
        assert math.log2(errors[lr] / errors[lr / 2]) == pytest.approx(1, abs=0.15)
    assert errors[0.025] < 0.01


@pytest.mark.slow
def test_one_steps_error_is_the_second_order_of_taylor(tmp_path: Path) -> None:
    """f(theta - eta g) - f(theta) + eta grad f . g = eta^2 / 2 g' H g, plus a third order."""
    lr = 1e-4
    _, sums, run = ran(tmp_path, "trainer.max_steps=1", f"optimizer.lr={lr}")
    task = build_as_the_run_did(run)
    model = task.model.double()
    rows = task.data.splits()
    train, probe = (
        task.data.collate(rows[s].__getitems__(list(range(n))))
        for s, n in (("train", 40), ("validation", 12))
    )
    weights = {n: p.detach() for n, p in model.named_parameters()}

    def loss(w: dict[str, Tensor]) -> Tensor:
        return task.loss(functional_call(model, w, (train["x"].double(),)), train["label"])

    g = torch.func.grad(loss)(weights)

    def moved(step: Tensor) -> Tensor:
        w = {n: weights[n] - step * g[n] for n in weights}
        out = functional_call(model, w, (probe["x"].double(),))
        return out[:, 1] - out[:, 0]

    zero = torch.tensor(0.0, dtype=torch.float64)
    second = jacrev(jacrev(moved))(zero)
    end = moved(torch.tensor(lr, dtype=torch.float64))
    error = end - (sums["start"] - sums["weighted"].sum(1))
    torch.testing.assert_close(error, lr**2 / 2 * second, rtol=2e-3, atol=1e-14)


def build_as_the_run_did(run: Run) -> Any:
    pl.seed_everything(run.config["seed"], verbose=False)
    return build(run.config, instantiate(run.config["data"]))


@pytest.mark.slow
def test_the_kernel_is_that_of_torchs_recipe(tmp_path: Path) -> None:
    """https://docs.pytorch.org/tutorials/intermediate/neural_tangent_kernels.html."""
    _, sums, run = ran(tmp_path, "trainer.max_steps=1")
    task = build_as_the_run_did(run)
    model = task.model.double()
    rows = task.data.splits()
    x = {
        s: task.data.collate(rows[s].__getitems__(list(range(n))))["x"].double()
        for s, n in (("train", 40), ("validation", 12))
    }
    weights = {n: p.detach() for n, p in model.named_parameters()}

    def f(w: dict[str, Tensor], row: Tensor) -> Tensor:
        out = functional_call(model, w, (row[None],))[0]
        return out[1] - out[0]

    jacobians = {s: vmap(jacrev(f), (None, 0))(weights, v) for s, v in x.items()}
    flat = {s: [j.flatten(1) for j in found.values()] for s, found in jacobians.items()}

    def kernel(a: str, b: str) -> Tensor:
        return sum((p @ q.T for p, q in zip(flat[a], flat[b], strict=True)), torch.tensor(0.0))

    torch.testing.assert_close(sums["first"], kernel("validation", "train"))
    torch.testing.assert_close(sums["kernel"], 0.1 * kernel("validation", "train"))
    both = torch.cat([torch.cat(flat["train"], 1), torch.cat(flat["validation"], 1)])
    assert torch.linalg.eigvalsh(both @ both.T).min() > -1e-9


@pytest.mark.slow
@pytest.mark.parametrize(
    "own",
    [
        ("data.batch_size=8", "trainer.max_steps=40"),
        ("optimizer.momentum=0.9", "optimizer.lr=0.01"),
        ("optimizer.momentum=0.9", "optimizer.lr=0.01", "optimizer.nesterov=true"),
        ("optimizer.momentum=0.5", "data.batch_size=8", "optimizer.lr=0.02"),
        ("optimizer.weight_decay=0.1",),
        ("optimizer.weight_decay=0.1", "optimizer.momentum=0.9", "optimizer.lr=0.01"),
        ("optimizer.lr=0.02", "trainer.accumulate_grad_batches=4", "data.batch_size=8"),
        ("scheduler=cosine", "scheduler.warmup=5"),
        ("model.activation=relu", "optimizer.lr=0.02"),
        ("init=lecun", "init.parametrization=ntk"),
        ("task=regression", "data.name=diabetes", "optimizer.lr=0.02"),
        ("loss.label_smoothing=0.1",),
    ],
    ids=str,
)
def test_every_kind_of_step_adds_up(tmp_path: Path, own: tuple[str, ...]) -> None:
    summary, sums, _ = ran(tmp_path, *own)
    assert summary.metrics["path/reconstruction_error"] < 0.03
    assert summary.metrics["path/correlation"] > 0.999
    whole = "path/constant_alpha_error" in summary.metrics
    full = "data.batch_size=8" not in own
    assert whole == (full and not any("momentum" in said for said in own))
    assert bool(sums["decay"].count_nonzero()) == any("decay" in said for said in own)


@pytest.mark.slow
def test_momentum_and_decay_of_a_linear_model_are_exact(tmp_path: Path) -> None:
    own = ("model.num_layers=0", "optimizer.weight_decay=0.05", "data.batch_size=8")
    for nesterov in ("false", "true"):
        said = (*own, "optimizer.momentum=0.9", f"optimizer.nesterov={nesterov}")
        summary, _, _ = ran(tmp_path, *said)
        assert summary.metrics["path/reconstruction_error"] < 1e-12


@pytest.mark.slow
def test_other_chunks_give_the_same_sums_and_held_kernels_nearly(tmp_path: Path) -> None:
    plain, sums, run = ran(tmp_path)
    other, theirs, _ = ran(tmp_path, "callbacks.path_kernel.chunk_size=7")
    assert theirs.keys() == sums.keys()
    for name, value in sums.items():
        torch.testing.assert_close(value, theirs[name])
    held, _, _ = ran(tmp_path, "callbacks.path_kernel.record_every=4")
    exact, rough = (s.metrics["path/reconstruction_error"] for s in (plain, held))
    assert exact < rough < 0.2
    assert other.metrics["val/loss"] == plain.metrics["val/loss"]
    tables = run.tables()
    assert {row["rank"] for row in tables["influence"]} == set(range(1, 11))
    assert len(tables["path_kernel"]) == 12 * 40
    assert len(tables["path_outputs"]) == 12
    total = sums["start"] - sums["weighted"].sum(1)
    assert [row["reconstructed"] for row in tables["path_outputs"]] == pytest.approx(total.tolist())


@pytest.mark.slow
def test_measuring_changes_nothing(tmp_path: Path) -> None:
    watched, _, _ = ran(tmp_path)
    without = [said for said in BASE if "path_kernel" not in said]
    alone = execute(spec_of([*without, f"out={tmp_path}"]))
    assert alone.metrics["val/loss"] == watched.metrics["val/loss"]


@pytest.mark.slow
@pytest.mark.parametrize("own", [(), ("optimizer.momentum=0.9", "data.batch_size=8")])
def test_a_resumed_run_ends_as_one_that_was_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: tuple[str, ...]
) -> None:
    whole, sums, _ = ran(tmp_path / "whole", *own)
    before = PathKernel.on_before_optimizer_step

    def stop(self: PathKernel, trainer: Any, module: Any, optimizer: Any) -> None:
        if trainer.global_step == 11:
            raise RuntimeError("the power went")
        before(self, trainer, module, optimizer)

    monkeypatch.setattr(PathKernel, "on_before_optimizer_step", stop)
    said = [*BASE, *own, "trainer.checkpoint_seconds=0", f"out={tmp_path / 'cut'}"]
    assert execute(spec_of(said), note=lambda _: None).status == "failed"
    monkeypatch.setattr(PathKernel, "on_before_optimizer_step", before)
    notes: list[str] = []
    spec = spec_of(said)
    summary = execute(spec, note=notes.append)
    assert any("goes on from" in note for note in notes)
    kept = torch.load(Run(spec).checkpoints()[0], weights_only=True)
    resumed = kept["callbacks"]["PathKernel"]["sums"]
    assert resumed.keys() == sums.keys()
    for name, value in sums.items():
        assert torch.equal(resumed[name], value), name
    path = {name: value for name, value in whole.metrics.items() if name.startswith("path/")}
    assert path == {name: summary.metrics[name] for name in path}


@pytest.mark.slow
def test_hinge_losss_coefficients_are_those_of_support_vectors() -> None:
    """A linear model and gradient descent: y_i a_i >= 0, and 0 outside of the margin."""
    generator = torch.Generator().manual_seed(0)
    y = torch.tensor([-1.0, 1.0]).repeat(40).double()
    x = torch.randn(80, 2, generator=generator, dtype=torch.float64) + 1.5 * y[:, None]
    w, b = torch.zeros(2, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    slopes, steps, lr = torch.zeros(80, dtype=torch.float64), 20_000, 1e-3
    for _ in range(steps):
        active = (y * (x @ w + b) < 1).double()
        slope = -y * active
        slopes += lr * slope
        w = w - lr * ((slope @ x) + w)
        b = b - lr * slope.sum()
    coefficients = -slopes / (lr * steps)
    assert (y * coefficients >= 0).all()
    margin = y * (x @ w + b)
    assert (y * coefficients)[margin > 1.6].max() < 0.1  # inside the margin at the start only
    peer = LinearSVC(C=1.0, loss="hinge", max_iter=1_000_000, tol=1e-8).fit(x.numpy(), y.numpy())
    theirs = torch.from_numpy(peer.decision_function(x.numpy())) * y
    last = margin < 1.02
    assert (last == (theirs < 1.02)).float().mean() > 0.97


def test_adaptive_steps_have_no_such_kernel() -> None:
    said = [item for item in BASE if not item.startswith("optimizer")]
    with pytest.raises(UserError, match="callback=path_kernel needs optimizer=sgd: a kernel of"):
        resolve([*said, "optimizer=adam"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "line"),
    [
        (["model.dropout=0.1"], r"hidden\.2 drops at random; set model\.dropout=0"),
        (["model.norm=${norm}", "norm=batch"], r"hidden\.1 is a BatchNorm"),
        (["trainer.gradient_clip_val=1.0"], "a clipped gradient is no sum over rows"),
        (["data.name=iris"], "the data have 3 classes, not two"),
        (
            ["optimizer.momentum=0.9", "callbacks.path_kernel.record_every=2"],
            "momentum needs each step's gradients",
        ),
        (["method=freeze", "method.freeze.train=classifier"], ""),
    ],
)
def test_refused_before_the_first_step(tmp_path: Path, own: list[str], line: str) -> None:
    summary = execute(spec_of([*BASE, *own, f"out={tmp_path}"]))
    if not line:  # frozen weights are no refusal
        assert summary.status == "finished", summary.error
        assert summary.metrics["path/reconstruction_error"] < 1e-10
        return
    assert summary.status == "failed"
    assert "callback=path_kernel" in str(summary.error)
    assert re.search(line, str(summary.error))


def test_numbers_below_one() -> None:
    with pytest.raises(ValueError, match="probe must be at least 1, not 0"):
        PathKernel(probe=0)
    with pytest.raises(ValueError, match="record_every must be at least 1"):
        PathKernel(record_every=0)
