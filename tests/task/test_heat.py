"""Completing pictures: what is seen, what is counted, and what a probe leaves alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression

import suexp
from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.build import build, data_of
from suexp.task._linear_map import LinearMap
from suexp.task.heat import Heat

WAVES = ["data=plane_waves", "data.num_train=600", "data.num_validation=200"]
SMALL = ["model.dim=8", "model.width=4", "trainer.enable_progress_bar=false", "threads=1"]
STEPS = ["trainer.max_steps=4", "trainer.val_check_interval=4"]
HEAT = ["task=heat", *WAVES, *SMALL]


def task(*overrides: str) -> Heat:
    config = resolve([*HEAT, *overrides]).config
    found = build(config, data_of(config))
    assert isinstance(found, Heat)
    return found


def batch(made: Heat, rows: int = 8) -> dict[str, torch.Tensor]:
    found: Any = made.data.splits()["validation"]
    return made.data.collate(found.__getitems__(list(range(rows))))


def test_every_place_is_drawn_and_a_step_draws_the_same() -> None:
    one, other = task(), task("seed=1")
    assert len(one.corners) == 25
    places = [one.corner(step) for step in range(500)]
    assert set(places) == set(one.corners)
    assert places == [task().corner(step) for step in range(500)]
    assert places != [other.corner(step) for step in range(500)]
    assert set(task("task.position=corners").corners) == {(0, 0), (0, 4), (4, 0), (4, 4)}


def test_the_loss_is_that_of_hidden_pixels() -> None:
    made = task()
    rows, corner = batch(made), made.corner(0)
    hidden = made.hidden(corner)
    assert int(hidden.sum()) == 256 - 64
    error = (made.model(rows["x"], corner, 4) - rows["x"]).square()
    torch.testing.assert_close(made.objective(rows), error[:, hidden].mean())
    everything = task("task.loss_on=all")
    everything.model = made.model
    torch.testing.assert_close(everything.objective(rows), error.mean())


def test_the_penalty_is_added() -> None:
    made = task("extrapolator.commute_weight=3")
    rows = batch(made)
    plain = made.objective(rows)
    penalty = made.model.extrapolator.penalty()
    assert penalty.detach() > 0
    made.model.extrapolator.commute_weight = 0
    torch.testing.assert_close(plain - penalty, made.objective(rows))


def test_evaluation_is_the_mean_over_all_places() -> None:
    made = task()
    made.report = lambda metrics: vars(made).update(reported=metrics)  # type: ignore[method-assign]
    rows = batch(made)
    with torch.no_grad():
        made.evaluate({"x": rows["x"][:3]})
        made.evaluate({"x": rows["x"][3:]})
        wanted = [
            (made.model(rows["x"], c, 4) - rows["x"])[:, made.hidden(c)].square().mean()
            for c in made.corners
        ]
    made.finish_split("val")
    found: Any = vars(made)["reported"]
    torch.testing.assert_close(found["val/hidden_mse"], torch.stack(wanted).mean())
    assert 0 <= float(found["val/derivative_r2"]) <= 1


def test_a_linear_map_is_found() -> None:
    x, w = torch.randn(500, 3), torch.randn(3, 3)
    noise = torch.randn(500, 3)
    r2 = LinearMap(3)
    r2.update(x[:200], x[:200] @ w)
    r2.update(x[200:], x[200:] @ w)
    assert float(r2.compute()) == pytest.approx(1, abs=1e-5)
    r2.reset()
    y = x @ w + noise
    r2.update(x, y)
    left = y - x @ torch.linalg.lstsq(x, y).solution
    wanted = 1 - float(left.square().sum() / y.square().sum())
    assert float(r2.compute()) == pytest.approx(wanted, abs=1e-5)


def test_blocks_are_whole_cells() -> None:
    with pytest.raises(UserError, match=r"a block of 4\.8 px is no multiple of stride 2; set"):
        task("task.block_fraction=0.3")
    with pytest.raises(UserError, match=r"task.block_fraction must be in \(0, 1\), not 1"):
        resolve([*HEAT, "task.block_fraction=1"])
    with pytest.raises(UserError, match=r"use model.decoder_context=1"):
        resolve([*HEAT, "extrapolator=mask_token"])
    assert task("extrapolator=mask_token", "model.decoder_context=1").block == 4


@pytest.mark.slow
def test_a_probe_leaves_the_encoder_alone_and_is_logistic_regression(tmp_path: Path) -> None:
    """On frozen features it is as right as scikit-learn's, within 2 of 200 rows."""
    parent = [*HEAT, *STEPS, "optimizer.lr=3e-3"]
    probe = [
        *("task=classification", "model=conv_classifier", *WAVES, *SMALL, "data.batch_size=600"),
        *(
            "method=freeze",
            "method.freeze.train=head|classifier",
            "optimizer.lr=0.05",
            "optimizer.weight_decay=0",
            "scheduler.warmup=0",
        ),
        *("trainer.max_steps=400", "trainer.val_check_interval=400"),
        *("transform=copy", "transform.leave_out=[extrapolator,decoder,head,classifier]"),
    ]
    parents = ",".join([*parent, "model=heat", "loss=mse", "~transform", "method=none"])
    found = suexp.run([*probe, f"parent=[{parents}]", f"out={tmp_path}"])
    assert found.status == "finished"
    states = {}
    for path in sorted(tmp_path.glob("runs/*/checkpoints/*.ckpt")):
        state = torch.load(path, weights_only=True)["state_dict"]
        kind = "heat" if any("extrapolator" in name for name in state) else "probe"
        states[kind] = {k.removeprefix("model."): v for k, v in state.items() if "encoder" in k}
    assert states["heat"].keys() == states["probe"].keys()
    assert all(torch.equal(states["probe"][name], value) for name, value in states["heat"].items())

    config = resolve(HEAT).config
    data = data_of(config)
    model = instantiate(config["model"], [], input_dim=256)
    model.load_state_dict(states["heat"], strict=False)
    sets = []
    for split in ("train", "validation"):
        rows: Any = data.splits()[split]
        whole = data.collate(rows.__getitems__(list(range(len(rows)))))
        with torch.no_grad():
            sets.append((model.encode(whole["x"]).mean((2, 3)), whole["label"]))
    (x, y), (x_val, y_val) = sets
    mean, std = x.mean(0), x.std(0)
    peer = LogisticRegression(C=1e4, max_iter=5000).fit((x - mean) / std, y)
    score = peer.score((x_val - mean) / std, y_val)
    assert found.metrics["val/accuracy"] == pytest.approx(score, abs=0.0101)


@pytest.mark.slow
def test_a_run_logs_all_figures(tmp_path: Path) -> None:
    found = suexp.run([*HEAT, *STEPS, f"out={tmp_path}"])
    assert found.status == "finished"
    assert found.metrics["val/hidden_mse"] == found.metrics["val/loss"]
    assert {"val/path_gap", "val/growth", "val/derivative_r2"} <= found.metrics.keys()
