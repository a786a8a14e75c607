"""Tasks train, validate, predict and write by the normaliser of their loss."""

from pathlib import Path

import pytest
import torch

from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.folders import conf_dir
from suexp.job.build import build
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.normalizer import Softmax, Taylor
from tests.support.tiny import tiny

DIGITS = [
    "task=classification",
    "data=digits",
    "model=mlp",
    "model.dim=8",
    "trainer=cpu",
    "trainer.max_steps=3",
    "trainer.val_check_interval=3",
    "trainer.enable_progress_bar=false",
    "threads=1",
]
TAYLOR = ["normalizer=taylor", "normalizer.order=4", "loss.margin=0.5", "loss.label_smoothing=0.1"]


def test_the_loss_brings_softmax_by_itself(tmp_path: Path) -> None:
    resolved = resolve([*DIGITS, f"out={tmp_path}"])
    assert resolved.choices["normalizer"] == "softmax"
    task = build(resolved.config, instantiate(resolved.config["data"]))
    assert isinstance(task.normalizer, Softmax)
    assert "normalizer" not in resolve(["task=tagging"]).choices


def test_a_classifier_is_judged_by_its_normaliser(tmp_path: Path) -> None:
    config = spec_of([*DIGITS, *TAYLOR, f"out={tmp_path}"])
    task = build(config.config, data := instantiate(config.config["data"]))
    assert isinstance(task.normalizer, Taylor)
    rows = data.splits()["validation"]
    batch = data.collate([rows[i] for i in range(200)])
    task.eval()
    with torch.no_grad():
        task.model.classifier.bias[7] = -20  # far into the negative branch
        task.evaluate(batch)
        z = task.model(batch["x"])
    p = Taylor(4).predict(z)
    expected = -p.gather(1, batch["label"][:, None]).log().mean()
    torch.testing.assert_close(task.mean_loss.compute(), expected)
    assert task.accuracy.compute() == (p.argmax(-1) == batch["label"]).float().mean()
    assert (p.argmax(-1) == 7).all()
    assert (z.argmax(-1) != 7).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["normalizer=taylor", "task.sample_tokens=3", "decoding=sample"],
        ["normalizer=taylor", "normalizer.gradient=infinite", "task=masked_lm"],
    ],
)
def test_language_models_train_and_write(tmp_path: Path, overrides: list[str]) -> None:
    overrides = [*overrides, "trainer.max_steps=2", "trainer.val_check_interval=2"]
    overrides += ["trainer.precision=bf16-mixed"]
    dropped = [item for item in tiny(tmp_path) if not item.startswith("task.")]
    summary = execute(spec_of([*dropped, *overrides]), print)
    assert summary.status == "finished", summary.error
    assert 0 < summary.metrics["val/loss"] < 10


@pytest.mark.slow
def test_a_run_of_digits(tmp_path: Path) -> None:
    summary = execute(spec_of([*DIGITS, *TAYLOR, f"out={tmp_path}"]), print)
    assert summary.status == "finished", summary.error
    assert summary.metrics["val/accuracy"] > 0


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["task=tagging"], "normalizer=taylor needs class scores"),
        (["task=matching"], "use loss=cross_entropy"),
        (["task=points_in_sector"], "normalizer=taylor needs class scores"),
        (["method=distill", "parent=['seed=1']"], "use normalizer=softmax"),
    ],
)
def test_where_there_is_nothing_to_normalise(overrides: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        resolve([*overrides, "normalizer=taylor"])


@pytest.mark.parametrize("task", sorted(path.stem for path in (conf_dir() / "task").glob("*.yaml")))
def test_every_task_uses_it_or_refuses_it(task: str) -> None:
    """A task whose loss takes no normaliser must not swallow one in silence."""
    reason = ""
    try:
        normalizer = resolve([f"task={task}", "normalizer=taylor"]).config["loss"]["normalizer"]
    except UserError as error:
        reason = str(error)
    if reason:
        assert "cannot be combined with" in reason or " needs " in reason
    else:
        assert normalizer["_target_"] == "suexp.normalizer.taylor.Taylor"
