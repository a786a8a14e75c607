"""Runs that differ in values alone share what Hydra has composed, and come out the same."""

import pytest

from suexp.config import compose
from suexp.config.compose import resolve
from suexp.errors import UserError


def test_a_seed_reaches_all_that_refers_to_it() -> None:
    own = ["task=points_in_sector", "data.batch_size=7"]
    plain = resolve(own).config
    third, last = resolve([*own, "seed=3"]).config, resolve(["seed=3", *own, "seed=5"]).config
    assert (plain["seed"], plain["task"]["seed"]) == (0, 0)
    assert (third["seed"], third["task"]["seed"]) == (3, 3)
    assert (last["seed"], last["task"]["seed"]) == (5, 5)
    assert resolve(own).config["seed"] == 0
    assert third | {"seed": 0, "task": plain["task"]} == plain


def test_seeds_are_composed_once() -> None:
    compose._composed.cache_clear()
    for seed in range(4):
        resolve(["data.block_size=48", f"seed={seed}"])
    assert compose._composed.cache_info().misses == 1


def test_configs_that_differ_in_the_seed_alone_are_resolved_once() -> None:
    compose._resolved.cache_clear()
    first, second = (resolve(["data.block_size=40", f"seed={seed}"]).config for seed in (1, 2))
    assert compose._resolved.cache_info().misses == 1
    assert (first["seed"], second["seed"]) == (1, 2)
    first["model"]["dim"] = 0  # nothing of it is shared
    assert second["model"]["dim"] > 0
    for seed in (1, 2):
        assert resolve(["task=points_in_sector", f"seed={seed}"]).config["task"]["seed"] == seed
    assert compose._resolved.cache_info().misses == 3


def test_a_parents_seed_is_its_own() -> None:
    child = resolve(["parent=['seed=4']", "seed=2"]).config
    assert (child["seed"], child["parent"]["seed"]) == (2, 4)
    assert resolve(["parent=['data.batch_size=5']", "seed=2"]).config["parent"]["seed"] == 2


def test_values_are_set_as_hydra_sets_them() -> None:
    compose._chosen.cache_clear()
    chosen = ["experiment=lion", "attention=performer"]
    values = ["model.dim=64", "optimizer.betas=[0.5,0.6]", "optimizer.lr=1e-5", "optimizer.lr=2e-5"]
    plain = resolve([*chosen, "seed=3"]).config
    config = resolve([*chosen, *values]).config
    assert compose._chosen.cache_info().misses == 1
    assert (config["seed"], plain["seed"]) == (0, 3)
    # An addition anywhere leaves all to Hydra.
    by_hydra = resolve([*chosen, *values, "++model.dim=64"])
    assert compose._chosen.cache_info().misses == 2
    assert by_hydra.config == config
    assert config["optimizer"] | {"lr": None} == plain["optimizer"] | {
        "lr": None,
        "betas": [0.5, 0.6],
    }
    assert config["optimizer"]["lr"] == 2e-5
    assert config["attention"]["head_dim"] == 16
    assert resolve([*chosen, "seed=3"]).config == plain


@pytest.mark.parametrize("value", ["model.dmi=3", "optimizer.betas={", "post.title=x"])
def test_a_misspelt_value_is_one_line(value: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve([value])
    assert "\n" not in str(caught.value)
    assert value.split("=")[0] in str(caught.value)
