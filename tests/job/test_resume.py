"""A sample of what scripts/kill_experiments.py does: every part that keeps or measures something.

Each run is killed in the middle, after the last validation and before summary.json.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import Callback

from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.task.recorded import Recorded
from tests.support.processes import apart
from tests.support.tiny import TINY, tiny

OWN = ("allow_targets=[tests]", "+callbacks.own._target_=tests.job.test_resume.Losses")
QUIET = ("trainer=cpu", "trainer.enable_progress_bar=false", "threads=1")
STEPS = ("trainer.max_steps=5", "trainer.val_check_interval=2", "trainer.log_every_n_steps=2")
TEXT = (
    "callback=[update_size,weight_noise,gradient_sign,attention_stats,gradient_norm,step_cost,"
    "lengths,places,position_cosine,ema]",
    "callbacks.ema.decay=0.5",
    "callbacks.update_size.every=2",
    "callbacks.step_cost.every=2",
    "callbacks.attention_stats.at_start=true",
    "callbacks.lengths.lengths=[8,16]",
    "callbacks.lengths.score_last=4",
    "callbacks.places.split_at=8",
    "position=learned",
    "task.sample_tokens=4",
    *OWN,
)
RUNS = {
    "text": [*TINY, *STEPS, *TEXT],
    "text, whose last step has a validation": [
        *TINY,
        *STEPS,
        *TEXT,
        "trainer.val_check_interval=5",
    ],
    "stopped early": [
        *(*TINY, *STEPS, *OWN[1:], "allow_targets=[tests,pytorch_lightning]"),
        "+callbacks.stop={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/loss, "
        "mode: max, patience: 1}",
        "trainer.max_steps=50",
    ],
    "accumulated": [
        *(*TINY, *STEPS, *OWN, "data.max_bytes=1200"),
        *("trainer.accumulate_grad_batches=3", "trainer.val_check_interval=6"),
    ],
    "enlarged": [
        *(*TINY, *STEPS, "callback=untied_distance", "transform=enlarge_width"),
        *("position=learned", "model.dim=32", 'parent=["model.dim=16"]'),
    ],
    "matching": [
        *(*QUIET, *STEPS, "task=matching", "model=bag_encoder", "model.dim=16"),
        *("data.tokenizer=bytes", "data.block_size=16", "data.batch_size=8"),
        *("callback=[gradient_error,chunk_scan]", "callbacks.gradient_error.every=2"),
        *("callbacks.chunk_scan.chunk_sizes=[2]", "callbacks.chunk_scan.batch_sizes=[8]"),
        *("method=grad_cache", "method.grad_cache.chunk_size=4", "method.grad_cache.check=true"),
    ],
    "generated": [
        *(*QUIET, *STEPS, "task=seq2seq", "data.tokenizer=bytes", "data.block_size=160"),
        *("model.dim=16", "model.num_layers=2", "model.num_heads=2", "data.batch_size=4"),
        *("task.generate_rows=2", "task.max_target=3", "trainer.limit_val_batches=1"),
    ],
    "written again": [
        *(*QUIET, *STEPS, "task=autoencode_text", "data.tokenizer=bytes", "data.block_size=16"),
        *("model.dim=16", "model.num_layers=2", "model.num_latent_layers=1", "data.batch_size=4"),
        *("model.num_heads=2", "data.eval_batch_size=8", "trainer.limit_val_batches=1"),
        *("callback=code_swap", "callbacks.code_swap.rows=2"),
    ],
    "answered": [
        *(*QUIET, *STEPS, "task=pair_mlm", "model.dim=16", "model.num_layers=1"),
        *("model.num_heads=2", "data.num_train=200", "data.num_validation=60"),
        *("data.num_labeled=100", "data.batch_size=8", "alter=anonymize"),
    ],
    "similar sentences": [
        *(*QUIET, *STEPS, "task=similar_sentence", "model.pooler=linear", "model.dropout=0.1"),
        *("data.tokenizer=bytes", "model.dim=16", "model.num_heads=2", "data.batch_size=4"),
        *("method=source_noise", "task.max_target=3", "trainer.limit_val_batches=1"),
        "callback=[similar_samples,source_gap]",
    ],
    "adversarial": [
        *(*QUIET, *STEPS, "task=adversarial", "task.num_samples=50", "task.line_points=64"),
        *("task.ema_decay=0.9", "data.num_train=400", "data.num_validation=60", "model.dim=8"),
        *("data.batch_size=8", "method=wgan_gp"),
    ],
    "scored": [
        *(*QUIET, *STEPS, "task=score_energy", "loss=multiscale_score", "model.dim=8"),
        *("data.num_train=400", "data.num_validation=60", "data.batch_size=8"),
        *("sampler=euler_maruyama", "sampler.steps=5", "callback=[density_grid,sample_quality]"),
        "callbacks.density_grid.points=10",
    ],
    "completed from a block": [
        *(*QUIET, *STEPS, "task=heat", "model.dim=8", "model.width=4"),
        *("data.num_train=400", "data.num_validation=60", "data.batch_size=8"),
    ],
    "score generator": [
        *(*QUIET, *STEPS, "task=score_generator", "task.num_samples=50", "model.dim=8"),
        *("data.num_train=400", "data.num_validation=60", "data.batch_size=10"),
        "loss.sigma={start: 2.0, end: 0.5, steps: 4}",
    ],
    "tagged": [
        *(*QUIET, *STEPS, "task=tagging", "model=conv_tagger", "model.dim=8", "loss=memm"),
        *("model.num_layers=1", "data.max_bytes=20000", "trainer.limit_val_batches=1"),
        *("data.batch_size=4", "task.timed_steps=1", "task.timed_lengths=[4]"),
    ],
    "analytic": [
        *(*QUIET, "task=analytic_classification", "model=linear", "data=sklearn"),
        *("data.name=iris", "data.columns=[2,3]", "data.batch_size=8"),
        *("task.shrinkage=ledoit_wolf", "callback=[calibration,decision_grid]"),
    ],
}


class Losses(Callback):
    """A callback of the user's own, which keeps something and draws at random."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.losses = state_dict["losses"]

    def on_train_epoch_start(self, *_: Any) -> None:
        torch.rand(3)

    def on_train_batch_start(self, *_: Any) -> None:
        torch.rand(3)

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))

    def on_train_end(self, trainer: Any, task: Any) -> None:
        task.final["own/mean"] = sum(self.losses) / len(self.losses)
        task.final["own/draw"] = float(torch.rand(()))
        task.record_rows("own", [{"loss": loss} for loss in self.losses])


class Object(Callback):
    """One whose state no checkpoint takes."""

    def state_dict(self) -> dict[str, Any]:
        return {"path": Path("x")}


def script() -> Any:
    path = Path(__file__).parents[2] / "scripts" / "kill_experiments.py"
    spec = importlib.util.spec_from_file_location("kill_experiments", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def killed(overrides: list[str], out: Path, forgetful: bool = False) -> Any:
    """Return the kills and the differences of a run and its parents."""
    kill = script()
    if forgetful:
        Recorded.restore = lambda *_: None  # type: ignore[method-assign]
    outcome = kill.Outcome()
    for spec in kill.lineage(spec_of(overrides)):
        kill.compare(spec, out, outcome)
    return outcome.kills, outcome.differing


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_ends_as_an_undisturbed_one(name: str, tmp_path: Path) -> None:
    kills, differing = apart(killed, [*RUNS[name], f"out={tmp_path}"], tmp_path)
    assert differing == {}
    runs = 2 if name == "enlarged" else 1
    assert [*kills.values()] == [runs, runs, runs]


@pytest.mark.slow
def test_the_comparison_sees_what_is_lost(tmp_path: Path) -> None:
    _, differing = apart(killed, [*RUNS["text"], f"out={tmp_path}"], tmp_path, True)
    found = {key.split()[-1]: names for key, names in differing.items()}
    assert {"tables/update", "metrics/val/noise_rise"} <= {*found["before_the_summary"]}
    assert "tables/position_cosine" in found["in_the_middle"]


def test_an_overwritten_byte_of_the_metrics_costs_nothing(tmp_path: Path) -> None:
    callbacks = ("callback=[update_size,weight_noise]", "callbacks.update_size.every=2")
    config = spec_of(tiny(tmp_path, *STEPS, *callbacks))
    run, left = Run(config), script().left
    assert execute(config).status == "finished"
    expected = left(run)
    assert {"update"} == expected["tables"].keys()
    assert "val/noise_rise" in expected["metrics"]
    path = run.folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"train/loss": ', b'"train/loss": 1', 1))
    said: list[str] = []
    assert execute(config, said.append).status == "finished"
    assert any("goes on from step=5" in line for line in said)
    assert left(run) == expected


def test_a_state_that_no_checkpoint_takes_is_refused(tmp_path: Path) -> None:
    own = ("allow_targets=[tests]", "+callbacks.own._target_=tests.job.test_resume.Object")
    summary = execute(spec_of(tiny(tmp_path, "trainer.max_steps=1", *own)))
    assert summary.status == "failed"
    assert summary.mistake
    assert summary.error.startswith("callback Object: its state_dict holds more than numbers")
