from pathlib import Path

import pytest
import torch

import suexp
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.store.spec import RunSpec
from tests.support.tiny import tiny


@pytest.mark.slow
def test_a_finished_run_is_found_again(tmp_path: Path) -> None:
    config = spec_of(tiny(tmp_path))
    first = execute(config)
    said: list[str] = []
    assert execute(config, said.append) == first
    assert "is finished already" in said[0]
    again = execute(config.changed(lambda own: {**own, "rerun": True}), said.append)
    assert again.started >= first.started
    assert again.metrics["val/loss"] == first.metrics["val/loss"]


@pytest.mark.slow
def test_the_summary_says_where_it_comes_from(tmp_path: Path) -> None:
    summary = execute(spec_of(tiny(tmp_path)))
    assert summary.status == "finished"
    assert summary.versions["torch"] == torch.__version__
    assert summary.threads == 1
    cost = summary.cost
    task = suexp.build(suexp.compose(tiny(tmp_path)))
    assert cost["parameters"] == sum(p.numel() for p in task.model.parameters())
    assert cost["steps"] == 20
    assert cost["flops_per_step"] > 6 * 4 * 16 * 2 * 12 * 16**2  # 6 N tokens of the two blocks
    assert summary.metrics["optimizer/state_bytes"] == 2 * 4 * cost["parameters"]


@pytest.mark.slow
def test_it_learns_and_beats_the_unigram_model(tmp_path: Path) -> None:
    config = spec_of(tiny(tmp_path, "trainer.max_steps=200", "optimizer.lr=1e-2"))
    metrics = execute(config).metrics
    history = Run(config).history()
    assert metrics["val/loss"] < metrics["val/unigram_loss"] - 0.3
    assert metrics["val/loss"] < history[0]["train/loss"] - 2
    # A byte is a token here, but for the end-of-text tokens: nats and bits differ by ln 2.
    assert metrics["val/bits_per_byte"] == pytest.approx(metrics["val/loss"] / 0.6931, rel=0.02)


def test_the_last_step_is_validated(tmp_path: Path) -> None:
    config = spec_of(tiny(tmp_path, "trainer.max_steps=13"))
    execute(config)
    steps = [line["step"] for line in Run(config).history() if "val/loss" in line]
    assert steps == [10, 13]


def test_nan_stops_the_run_and_names_step_and_checkpoint(tmp_path: Path) -> None:
    overrides = ["optimizer=sgd", "optimizer.lr=1e30", "trainer.gradient_clip_val=null"]
    config = spec_of(tiny(tmp_path, *overrides, "trainer.checkpoint_seconds=0"))
    summary = execute(config)
    assert summary.status == "failed"
    assert "the loss is nan at step" in summary.error or "inf" in summary.error
    assert "last good checkpoint" in summary.error
    for path in Run(config).checkpoints():
        state = torch.load(path, weights_only=True)
        assert "state_dict" in state


def smoothed(overrides: list[str], value: float) -> RunSpec:
    """Return a run that composing would refuse, as a program may make it."""
    config = resolve(overrides).config
    (config["parent"] or config)["loss"]["label_smoothing"] = value
    return RunSpec.of(config)


def test_a_constructor_that_refuses_is_one_line(tmp_path: Path) -> None:
    config = smoothed(tiny(tmp_path), 1.5)
    summary = execute(config)
    assert summary.status == "failed"
    assert summary.error.startswith("CrossEntropy: label_smoothing must lie in [0, 1)")
    assert Run(config).summary() == summary


@pytest.mark.slow
def test_a_child_starts_from_its_parents_weights(tmp_path: Path) -> None:
    parent = tiny(tmp_path)
    child = spec_of([*parent, "trainer.max_steps=0", 'parent=["trainer.max_steps=20"]'])
    assert child.origins["parent"].config["trainer"]["max_steps"] == 20
    base = spec_of(parent)
    execute(base)
    said: list[str] = []
    summary = execute(child, said.append)
    assert not [line for line in said if "finished already" in line]  # nobody asked for the parent
    assert Run(child.origins["parent"]).id == Run(base).id
    expected = Run(base).summary()
    assert expected is not None
    assert summary.metrics["val/loss"] == pytest.approx(expected.metrics["val/loss"], abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["method=lora", "method.lora.targets=blokcs"], "matches no linear layer"),
        (["data.block_size=4000000"], "data.block_size"),
    ],
)
def test_what_cannot_be_built_is_said_before_its_parent_runs(
    tmp_path: Path, wrong: list[str], said: str
) -> None:
    child = spec_of([*tiny(tmp_path, *wrong), 'parent=["method=none","data.block_size=16"]'])
    summary = execute(child)
    assert summary.status == "failed"
    assert said in (summary.error or "")
    assert summary.exit_code == 2
    assert Run(child).summary() == summary
    assert Run(child.origins["parent"]).summary() is None


@pytest.mark.slow
def test_a_run_may_be_validated_before_its_first_step(tmp_path: Path) -> None:
    parent = 'parent=["model.norm_order=pre"]'
    without = spec_of(tiny(tmp_path, parent))
    child = spec_of(tiny(tmp_path, parent, "trainer.val_at_start=true"))
    summaries = [execute(without), execute(child)]
    history = [line for line in Run(child).history() if "val/loss" in line]
    assert [line["step"] for line in history] == [0, 10, 20]
    origin = Run(without.origins["parent"]).summary()
    assert origin is not None
    assert history[0]["val/loss"] == pytest.approx(origin.metrics["val/loss"], abs=1e-6)
    losses = [each.metrics["val/loss"] for each in summaries]
    assert losses[0] == losses[1]  # looking changes nothing


@pytest.mark.slow
def test_flops_count_the_parents_too(tmp_path: Path) -> None:
    child = spec_of(tiny(tmp_path, "trainer.max_steps=7", 'parent=["trainer.max_steps=20"]'))
    costs = execute(child).cost
    assert costs["flops"] == 27 * costs["flops_per_step"]
    twice = ["trainer.max_steps=3", "trainer.accumulate_grad_batches=2"]
    again = execute(spec_of(tiny(tmp_path, *twice))).cost
    assert again["flops"] == 6 * costs["flops_per_step"]


@pytest.mark.slow
def test_a_transform_reports_what_it_measured(tmp_path: Path) -> None:
    enlarge = ["transform=enlarge_width", "position=learned", "model.dim=32"]
    overrides = [*enlarge, "trainer.max_steps=2", 'parent=["model.dim=16"]']
    metrics = execute(spec_of(tiny(tmp_path, *overrides))).metrics
    assert 0 < metrics["transform/max_logit_difference"] < 1e-5


@pytest.mark.slow
def test_swapping_attention_without_retraining(tmp_path: Path) -> None:
    convert = [
        "attention=performer",
        "attention.num_features=256",
        "transform=convert_attention",
        "trainer.max_steps=0",
        'parent="attention=softmax trainer.max_steps=20"',
    ]
    child = spec_of(tiny(tmp_path, *convert))
    assert "transform" not in child.origins["parent"].config
    summary = execute(child)
    parent = Run(child.origins["parent"]).summary()
    assert parent is not None
    difference = summary.metrics["val/loss"] - parent.metrics["val/loss"]
    assert 0 < abs(difference) < 0.1


def test_a_failed_parent_is_named(tmp_path: Path) -> None:
    parent = 'parent=["trainer.max_steps=5"]'
    child = smoothed(tiny(tmp_path, "trainer.max_steps=0", parent), 2)
    with pytest.raises(UserError, match=r"the parent run \w+ failed: CrossEntropy"):
        execute(child)


def test_python_api(tmp_path: Path) -> None:
    summary = suexp.run(tiny(tmp_path, "trainer.max_steps=3", "trainer.log_every_n_steps=1"))
    assert summary.status == "finished"
    assert summary.folder.is_dir()
    assert [line["step"] for line in summary.history()] == [1, 2, 3]
    cfg = suexp.compose(["attention=performer", "model.dim=32", "model.num_heads=2"])
    from hydra.utils import instantiate

    assert type(instantiate(cfg.attention)).__name__ == "Performer"


def test_what_an_optimizer_refuses_is_one_line(tmp_path: Path) -> None:
    config = resolve(tiny(tmp_path, "optimizer=lion")).config
    config["optimizer"]["lr"] = 0
    summary = execute(RunSpec.of(config))
    assert summary.status == "failed"
    assert summary.mistake
    assert "lr" in summary.error
    assert "\n" not in summary.error


def test_what_an_experiment_sets_of_a_group_that_a_task_lacks_makes_nothing(tmp_path: Path) -> None:
    fit = ("task=density_fit", "model=gaussian", "data=mixture2d", "trainer=cpu", f"out={tmp_path}")
    summary = execute(spec_of([*fit, "+scheduler.warmup=0", "trainer.enable_progress_bar=false"]))
    assert summary.status == "finished", summary.error
