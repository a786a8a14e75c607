"""Two networks, two optimizers: steps are counted, clipped, scheduled and resumed as one run."""

import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.build import build
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.nn.flops import counted
from suexp.store.folder import Run
from suexp.store.spec import RunSpec
from suexp.task.adversarial import Adversarial
from tests.job.test_checkpoint import assert_equal, weights
from tests.support.processes import exit_code, start, stop_at, two_processes

SMALL = (
    "task=adversarial",
    "task.num_samples=50",
    "task.line_points=64",
    "data.num_train=400",
    "data.num_validation=60",
    "data.batch_size=8",
    "model.dim=8",
    "trainer=cpu",
    "trainer.max_steps=20",
    "trainer.val_check_interval=10",
    "trainer.log_every_n_steps=5",
    "trainer.enable_progress_bar=false",
    "threads=1",
)


def config(out: Path, *overrides: str) -> dict[str, Any]:
    return spec_of([*SMALL, f"out={out}", *overrides])


def task_and_batch(*overrides: str) -> tuple[Adversarial, dict[str, Tensor]]:
    chosen = config(Path("unused"), *overrides)
    data = instantiate(chosen.config["data"])
    torch.manual_seed(0)
    task = build(chosen.config, data)
    assert isinstance(task, Adversarial)
    return task, data.collate(data.splits()["train"].__getitems__(list(range(8))))


@pytest.mark.slow
def test_steps_are_the_generators(tmp_path: Path) -> None:
    summary = execute(config(tmp_path, "task.n_critic=4", "scheduler=linear"))
    assert summary.status == "finished", summary.error
    run = Run(config(tmp_path, "task.n_critic=4", "scheduler=linear"))
    history = run.history()
    assert [line["step"] for line in history if "train/loss" in line] == [5, 10, 15, 20]
    assert [line["step"] for line in history if "val/w1" in line] == [10, 20]
    assert all("train/generator_loss" in line for line in history if "train/loss" in line)
    assert summary.cost["steps"] == 20
    assert [path.stem for path in run.checkpoints()] == ["step=20"]
    state = torch.load(run.checkpoints()[0], weights_only=True)
    generator, critic = state["optimizer_states"]
    assert {float(s["step"]) for s in generator["state"].values()} == {20}
    assert {float(s["step"]) for s in critic["state"].values()} == {80}
    rates = [line["train/lr"] for line in history if "train/lr" in line]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1e-4)
    assert [s["last_epoch"] for s in state["lr_schedulers"]] == [20, 20]
    metrics = summary.metrics
    assert metrics["optimizer/state_bytes"] == 2 * 4 * summary.cost["parameters"]
    assert metrics["train/step_ms"] > 0
    assert {row["table"] for row in table(run)} == {"line", "samples", "contour"}


def table(run: Run) -> list[dict[str, Any]]:
    return [{"table": name, **row} for name, rows in run.tables().items() for row in rows]


def test_each_side_moves_only_itself() -> None:
    task, batch = task_and_batch()
    task.objective(task.with_fake(batch)).backward()
    assert all(p.grad is None for p in task.model.generator.parameters())
    assert all(p.grad is not None for p in task.model.critic.parameters())


def test_the_network_is_kept_once() -> None:
    task, _ = task_and_batch("method=gradient_normalization")
    assert task.raw_critic is task.model.critic.inner
    names = [name for name in task.state_dict() if "critic" in name]
    assert all(name.startswith("model.critic.inner.") for name in names)


def test_the_critic_sees_real_and_generated_in_one_pass() -> None:
    task, batch = task_and_batch("loss.kind=wgan")
    fake = torch.randn(8, 2)
    with torch.no_grad():
        expected = task.model.critic(fake).mean() - task.model.critic(batch["x"]).mean()
    torch.testing.assert_close(task.objective({**batch, "fake": fake}).detach(), expected)


def test_noise_is_a_function_of_the_step() -> None:
    task, _ = task_and_batch()
    task._draws = 0
    first, second = task.generate(4), task.generate(4)
    task._draws = 0
    assert torch.equal(task.generate(4), first)
    assert not torch.equal(first, second)
    other, _ = task_and_batch("task.seed=5")
    other._draws = 0
    assert not torch.equal(other.generate(4), first)
    assert torch.equal(task.sample(6), task.sample(6))


METHODS = {
    "none": (),
    "gradient_normalization": ("task.ema_decay=0.9",),
    "wgan_gp": ("loss.kind=wgan", "task.n_critic=2"),
    "weight_clipping": ("method.weight_clipping.c=0.05",),
    "spectral_norm": ("trainer.gradient_clip_val=null",),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_resumed_from_the_middle_equals_uninterrupted(method: str, tmp_path: Path) -> None:
    extra = [f"method={method}", *METHODS[method]]
    chosen = config(tmp_path, *extra)
    whole = execute(chosen)
    expected = weights(Run(chosen))
    trainer = {**chosen.config["trainer"], "max_steps": 13}
    half = RunSpec.of({**chosen.config, "trainer": trainer})
    assert execute(half).status == "finished"
    for path in (Run(chosen).folder / "summary.json", *Run(chosen).checkpoints()):
        path.unlink()
    middle = Run(half).checkpoints()[0]
    middle.rename(Run(chosen).folder / "checkpoints" / middle.name)
    said: list[str] = []
    again = execute(chosen, said.append)
    assert any("goes on from step=13" in line for line in said)
    state = weights(Run(chosen))
    assert all(torch.equal(value, state[name]) for name, value in expected.items())
    for name in ("val/w1", "val/max_grad_norm", "train/lr"):
        assert again.metrics[name] == whole.metrics[name]


@pytest.mark.slow
def test_killed_and_restarted_equals_uninterrupted(tmp_path: Path) -> None:
    extra = (
        *("method=gradient_normalization", "task.n_critic=2", "task.ema_decay=0.9"),
        *("scheduler=linear", "trainer.checkpoint_seconds=0", "trainer.max_steps=150"),
    )
    parts, whole = config(tmp_path / "parts", *extra), config(tmp_path / "whole", *extra)
    run = Run(parts)
    for number, step in ((signal.SIGKILL, 30), (signal.SIGINT, 90)):
        stop_at(step, run, start(parts), number)
        assert not run.finished
    assert exit_code(start(parts)) == 0
    assert execute(whole).status == "finished"
    assert_equal(run, Run(whole))


def test_the_average_follows_the_generator() -> None:
    task, _ = task_and_batch("task.ema_decay=0.9")
    assert task.average is not None
    assert torch.equal(task.sample(5), task.model.generator(noise(5)).detach())
    task.average.update_parameters(task.model.generator)
    first = [p.detach().clone() for p in task.model.generator.parameters()]
    with torch.no_grad():
        for parameter in task.model.generator.parameters():
            parameter.add_(1.0)
    task.average.update_parameters(task.model.generator)
    for old, mean in zip(first, task.average.parameters(), strict=True):
        torch.testing.assert_close(mean.detach(), old + 0.1)
        assert not mean.requires_grad
    assert torch.equal(task.sample(5), task.average(noise(5)).detach())


def noise(count: int) -> Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(0))


def test_clipping_is_of_each_side(tmp_path: Path) -> None:
    extra = ["optimizer=sgd", "optimizer.lr=1.0", "trainer.max_steps=1", "loss.kind=wgan"]
    run = Run(config(tmp_path, *extra, "trainer.gradient_clip_val=1e-3"))
    summary = execute(run.spec)
    assert summary.status == "finished", summary.error
    state = weights(run)
    pl.seed_everything(0, verbose=False)
    fresh = build(run.config, instantiate(run.config["data"]))
    for side in ("generator", "critic"):
        moved = sum(
            (state[name] - value).square().sum()
            for name, value in fresh.state_dict().items()
            if f"model.{side}." in name
        )
        assert torch.as_tensor(moved).sqrt().item() == pytest.approx(1e-3, rel=0.01)


def test_the_generator_may_have_a_rate_and_a_batch_of_its_own(tmp_path: Path) -> None:
    own = config(tmp_path, "task.generator_lr=1e-9", "task.generator_batch=3")
    assert execute(own).status == "finished"
    state = torch.load(Run(own).checkpoints()[0], weights_only=True)["optimizer_states"]
    assert [s["param_groups"][0]["lr"] for s in state] == [1e-9, 1e-3]


def test_nan_stops_the_run_at_a_good_checkpoint(tmp_path: Path) -> None:
    bad = config(
        tmp_path,
        *("optimizer=sgd", "optimizer.lr=1e30", "trainer.gradient_clip_val=null"),
        *("loss.kind=wgan", "trainer.checkpoint_seconds=0"),
    )
    summary = execute(bad)
    assert summary.status == "failed"
    assert "the loss is" in summary.error
    assert "last good checkpoint" in summary.error


@pytest.mark.parametrize("form", ["gn", "gran", "plain", "linear", "gran_sum"])
def test_every_form_trains_both_sides(form: str) -> None:
    chosen = ["method=gradient_normalization", f"method.gradient_normalization.form={form}"]
    task, batch = task_and_batch(*chosen)
    task.wrapped_objective()(batch).backward()
    task.generator_objective(5).backward()
    for name, parameter in task.model.named_parameters():
        # What only shifts D by a constant does not move its gradient, nor `linear`.
        if form != "linear" or not name.endswith("layers.6.bias"):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_metrics_of_a_normalised_critic(tmp_path: Path) -> None:
    chosen = config(tmp_path, "method=gradient_normalization", "task.line_points=4000")
    metrics = execute(chosen).metrics
    assert metrics["val/mean_grad_norm"] <= metrics["val/max_grad_norm"] <= 1 + 1e-5
    assert metrics["val/max_jump"] > 20 * metrics["val/line_step"]
    assert metrics["val/jumps"] >= 1


@pytest.mark.slow
def test_bfloat16_trains(tmp_path: Path) -> None:
    for method in ("gradient_normalization", "wgan_gp", "spectral_norm"):
        summary = execute(config(tmp_path, f"method={method}", "trainer.precision=bf16-mixed"))
        assert summary.status == "finished", summary.error


def test_operations_include_the_methods_own() -> None:
    found = {}
    for method in ("none", "wgan_gp", "gradient_normalization"):
        task, batch = task_and_batch(f"method={method}")
        with counted() as counter:
            task.rehearse(batch)
        assert all(parameter.grad is None for parameter in task.parameters())
        found[method] = counter.get_total_flops()
    assert found["none"] < found["wgan_gp"]
    assert found["none"] < found["gradient_normalization"]


def test_images_leave_a_picture(tmp_path: Path) -> None:
    digits = [item for item in SMALL if not item.startswith("data.num")]
    chosen = spec_of([*digits, "data=digits", f"out={tmp_path}", "trainer.max_steps=2"])
    summary = execute(chosen)
    assert summary.status == "finished", summary.error
    assert "val/modes" not in summary.metrics
    tables = Run(chosen).tables()
    assert len(tables["picture"]) == 9 * 64
    assert "samples" not in tables


@pytest.mark.slow
def test_refusals(tmp_path: Path) -> None:
    task, batch = task_and_batch("task.n_critic=3")
    with pytest.raises(UserError, match=r"batch of 8 rows cannot be parted among task.n_critic=3"):
        task._parts(batch)
    summary = execute(config(tmp_path, "trainer.accumulate_grad_batches=2"))
    assert "use a larger data.batch_size" in summary.error
    with pytest.raises(UserError, match=r"task\.n_critic must be at least 1, not 0"):
        config(tmp_path, "task.n_critic=0")
    with pytest.raises(UserError, match=r"model=gan_mlp"):
        resolve(["task=adversarial", "model=mlp"])
    with pytest.raises(UserError, match=r"trainer=fsdp: .*use trainer=ddp"):
        resolve(["task=adversarial", "trainer=fsdp"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradient_normalization", "wgan_gp"])
def test_two_processes_share_the_batch(method: str, tmp_path: Path) -> None:
    several = [item for item in SMALL if item != "trainer=cpu"]
    several += ["trainer=ddp", "trainer.accelerator=cpu", "task.n_critic=2", "task.ema_decay=0.9"]
    several += ["data.eval_batch_size=10"]  # a share of the validation split for each
    chosen = spec_of([*several, f"method={method}", f"out={tmp_path}"])
    summary = two_processes(chosen)
    assert summary.cost["steps"] == 20
    assert summary.metrics["val/w1"] < 3
