"""Runs that differ in their seed alone are composed once, and come out the same."""

from suexp.runner import compose
from suexp.runner.compose import resolve


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


def test_a_parents_seed_is_its_own() -> None:
    child = resolve(["parent=['seed=4']", "seed=2"]).config
    assert (child["seed"], child["parent"]["seed"]) == (2, 4)
    assert resolve(["parent=['data.batch_size=5']", "seed=2"]).config["parent"]["seed"] == 2
