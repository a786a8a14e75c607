import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hydra_plugins.suexp_launcher.local_launcher import LocalLauncher
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.experiment.conduct import conduct
from suexp.experiment.plan import choose, plan
from suexp.experiment.settings import overrides
from tests.support.tiny import EXPERIMENT, tiny


def refused(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        plan(arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_experiment_expands_to_arms_and_seeds() -> None:
    (item,) = plan(["experiment=lion", "only=[adamw,lion]"])
    runs = item.runs()
    assert [(run.arm, run.seed) for run in runs] == [
        (arm, seed) for arm in ("adamw", "lion") for seed in (0, 1, 2)
    ]
    assert runs[0].config["optimizer"]["_target_"].endswith("AdamW")
    assert runs[3].config["optimizer"]["_target_"].endswith("Lion")
    assert runs[3].config["optimizer"]["weight_decay"] == 0.03
    assert runs[3].config["run"] == {"experiment": "lion", "arm": "lion"}


def test_parents_within_parents_stand_in_yaml_as_they_are_meant() -> None:
    arm = yaml.safe_load(
        """
        - seed: 3
        - from:
            - model.num_layers: 4
            - from: [transform: copy, model.num_layers: 4,
                     from: {seed: 5, data: {columns: {text: a b}, tokenizer: bytes}}]
        """
    )
    config = resolve(["data=files", "data.train=x", "transform=copy", *overrides(arm, {})]).config
    assert config["seed"] == 3
    first = config["parent"]
    second, third = first["parent"], first["parent"]["parent"]
    assert [item["model"]["num_layers"] for item in (first, second, third)] == [4, 4, 4]
    assert third["seed"] == 5
    assert third["data"]["columns"]["text"] == "a b"
    assert third.get("parent") is None


def test_the_tuned_value_goes_into_the_runs() -> None:
    (item,) = plan(["experiment=lion", "only=[adamw,lion]"])
    scores = {1e-3: 2.0, 3e-3: 1.5, 1e-2: None, 3e-4: 3.0}
    grid = item.tuning()
    assert {run.seed for runs in grid.values() for run in runs.values()} == {99}
    by_run = {run: scores[value] for runs in grid.values() for value, run in runs.items()}
    item.chosen.update(choose(item, by_run.__getitem__))
    assert item.chosen == {"adamw": 3e-3, "lion": 3e-3}
    assert item.runs()[0].config["optimizer"]["lr"] == 3e-3


def test_a_tuned_value_may_set_several_keys() -> None:
    (item,) = plan(["experiment=taylor_softmax", "only=[sm_softmax]"])
    runs = item.tuning()["sm_softmax"]
    tried = [(run.config["loss"]["margin"], run.config["optimizer"]["lr"]) for run in runs.values()]
    assert tried == [(m, lr) for m in (0.1, 0.5, 0.9) for lr in (3e-3, 1e-2)]
    item.chosen["sm_softmax"] = list(runs)[3]
    assert item.runs()[0].config["loss"]["margin"] == 0.5
    assert item.runs()[0].config["optimizer"]["lr"] == 1e-2
    with pytest.raises(UserError, match=r"loss\.margin is fixed by the arms"):
        plan(["experiment=taylor_softmax", "only=[sm_softmax]", "loss.margin=2"])


def test_part_of_an_experiment_keeps_the_claims_that_it_can_judge() -> None:
    (item,) = plan(["experiment=lion", "only=[adamw,lion]", "trainer.enable_progress_bar=false"])
    assert item.header is not None
    assert list(item.header["claims"]) == ["C1", "C2", "C7"]
    assert item.folder_name == "laptop,only=_adamw,lion_"  # not where the whole one's report lies


def test_a_scale_changes_what_it_names_and_wins_over_arms() -> None:
    (item,) = plan(["experiment=lion", "scale=smoke"])
    assert item.seeds == (0,)
    assert {run.config["trainer"]["max_steps"] for run in item.runs()} == {3}
    assert {run.config["data"]["batch_size"] for run in item.runs()} == {2}


@pytest.mark.parametrize(
    ("typed", "seeds"), [("seeds=[7,9]", (7, 9)), ("seeds={until: decided, at_most: 8}", (0, 1, 2))]
)
def test_typed_seeds_count_at_every_scale(typed: str, seeds: tuple[int, ...]) -> None:
    (item,) = plan(["experiment=lion", "scale=smoke", typed])
    assert item.seeds == seeds
    assert {run.seed for run in item.runs()} == {*seeds}


def test_the_user_wins_over_the_scale() -> None:
    (item,) = plan(["experiment=lion", "scale=smoke", "model.dim=48", "seed=5,7"])
    assert item.seeds == (5, 7)
    assert {run.config["model"]["dim"] for run in item.runs()} == {48}
    assert item.folder_name == "smoke,model.dim=48,seed=5,7"
    assert item.command == "suexp experiment=lion scale=smoke model.dim=48 seed=5,7"


@pytest.mark.slow
def test_sweeps_of_the_user_multiply_experiments() -> None:
    plans = plan(["experiment=lion,points_in_sector", "scale=smoke"])
    assert [item.slug for item in plans] == ["lion", "points_in_sector"]
    plans = plan(["experiment=lion", "scale=smoke", "model.dim=48,96"])
    assert [item.user[-1] for item in plans] == ["model.dim=48", "model.dim=96"]
    assert len({item.folder_name for item in plans}) == 2


@pytest.mark.slow
def test_a_plain_sweep_has_no_arms() -> None:
    plans = plan([*tiny(Path("o")), "attention=softmax,linear", "seed=0,1"])
    runs = [run for item in plans for run in item.runs()]
    assert len(runs) == 4
    assert {run.arm for run in runs} == {None}
    assert len({run.run.id for run in runs}) == 4


def test_an_override_that_an_arm_fixes_is_refused() -> None:
    message = refused("experiment=lion", "optimizer=sgd")
    assert message.startswith("optimizer is fixed by the arms adamw, lion")
    assert refused("experiment=lion", "optimizer.lr=1").startswith("optimizer.lr is fixed by")


def test_a_misspelt_arm_is_named() -> None:
    assert refused("experiment=lion", "only=[adamv]") == (
        "experiment=lion: only: there is no arm 'adamv'; did you mean adamw?"
    )


@pytest.mark.slow
def test_every_run_is_composed_before_any_starts() -> None:
    assert "cannot be combined with" in refused("attention=softmax,performer", "position=alibi")


ARMS = (
    EXPERIMENT
    + """
arms:
  good: {optimizer: adamw}
  bad: {optimizer: sgd, optimizer.lr: 1e30, trainer.gradient_clip_val: null}
claims:
  C1: {text: "Good beats bad.", test: "val/loss[good] < val/loss[bad]"}
  C2: {text: "Good is below ten.", test: "val/loss[good] < 10"}
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [0, 2], ids=["in process", "fork server"])
def test_a_failed_arm_does_not_stop_the_others(
    tmp_path: Path, jobs: int, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suexp.folders import conf_dir

    conf = tmp_path / "conf"
    import shutil

    shutil.copytree(conf_dir(), conf)
    (conf / "experiment" / "tiny.yaml").write_text(ARMS)
    for module in ("config.compose", "config.hydra_internals", "experiment.plan"):
        monkeypatch.setattr(f"suexp.{module}.conf_dir", lambda: conf)
    out = tmp_path / "out"
    overrides = [item for item in tiny(out) if not item.startswith(("seed", "trainer.grad"))]
    assert conduct(["experiment=tiny", *overrides], LocalLauncher(jobs)) == 2
    results = json.loads(next(out.glob("tiny/*/results.json")).read_text())
    status = {(run["arm"], run["seed"]): run["status"] for run in results["runs"]}
    assert status == {
        ("good", 0): "finished",
        ("good", 1): "finished",
        ("bad", 0): "failed",
        ("bad", 1): "failed",
    }
    verdicts = {claim["id"]: claim["verdict"] for claim in results["claims"]}
    assert verdicts == {"C1": "not evaluated", "C2": "reproduced"}
    assert "the loss is" in capfd.readouterr().err
