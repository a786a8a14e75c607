"""Claims on runs of which some diverged: that is an outcome, and costs an arm the seed."""

import math

import pytest

from suexp.judge.claims import judge
from suexp.judge.looks import Seeding
from suexp.report.verdicts import judged

INF = math.inf


def run(
    arm: str, seed: int, loss: float, at: int | None = None, **more: float
) -> dict[str, object]:
    ended = (
        {"train/diverged": 0.0} if at is None else {"train/diverged": 1.0, "train/diverged_at": at}
    )
    metrics = {"val/loss": loss, **ended, **more}
    return {"arm": arm, "seed": seed, "status": "finished", "error": None, "metrics": metrics}


def verdict(test: str, runs: list[dict[str, object]], **more: object) -> dict[str, object]:
    return judge({"C": {"text": "t", "test": test, **more}}, runs, "laptop")[0]


WILD = [run("wild", seed, INF, at=30 + seed) for seed in range(7)]
ENDS = (("tame", 1.0, None), ("wild", INF, 30))
TAME = [run("tame", seed, 1.0 + seed / 10) for seed in range(7)]


def test_a_run_that_diverges_loses_its_seed() -> None:
    record = verdict("val/loss[tame] < val/loss[wild]", [*TAME, *WILD])
    assert record["verdict"] == "reproduced"  # 2 / 2^7 < 5 %
    assert record["judged"] == "signs"
    few = verdict("val/loss[tame] < val/loss[wild]", [*TAME[:3], *WILD[:3]])
    assert few["verdict"] == "inconclusive"


def test_whether_it_diverged_is_a_metric() -> None:
    every = verdict("every train/diverged[wild] >= 1", [*TAME, *WILD])
    assert every["verdict"] == "held in n of n"
    assert verdict("every train/diverged[tame] >= 1", TAME)["verdict"] == "not reproduced"
    assert verdict("train/diverged[tame] <= 0", TAME, exact=True)["verdict"] == "verified"
    order = verdict("every train/diverged_at[wild] <= 36", WILD)
    assert order["verdict"] == "held in n of n"


def test_the_record_and_its_words_say_so() -> None:
    record = verdict("val/loss[tame] < val/loss[wild]", [*TAME[:2], *WILD[:2]])
    assert record["diverged"] == [
        {"arm": "wild", "seed": 0, "step": 30},
        {"arm": "wild", "seed": 1, "step": 31},
    ]
    assert "wild diverged at step 30 (seed 0), 31 (seed 1)" in judged(record).notes
    assert "diverged" not in verdict("val/loss[tame] < 9", TAME)


@pytest.mark.parametrize("value", [math.nan, None])
def test_a_figure_without_a_worst_value_is_not_judged(value: float | None) -> None:
    more = {} if value is None else {"val/temperature": value}
    runs = [run("wild", 0, INF, at=37, **more), run("tame", 0, 1.0, **{"val/temperature": 1.0})]
    record = verdict("val/temperature[wild] < val/temperature[tame]", runs)
    assert record["verdict"] == "not evaluated"
    assert "diverged at step 37" in str(record["reason"])


def test_seeds_are_added_until_the_votes_decide() -> None:
    """Six of one mind are the first of whom chance would make less than 1 of 20, both sides."""
    plan = Seeding(None, 12)
    claim = {"C": {"text": "t", "test": "val/loss[tame] < val/loss[wild]"}}
    first = judge(claim, [*TAME[:3], *WILD[:3]], "laptop", plan)[0]
    assert first["verdict"] == "inconclusive"
    assert first["next"] == {"look": 5, "arms": ["tame", "wild"]}
    assert first["needs"]["seeds"] == 3
    more = [run(arm, s, loss, at) for s in range(8) for arm, loss, at in ENDS]
    found = judge(claim, more, "laptop", plan)[0]
    assert found["verdict"] == "reproduced"  # 2 / 2^8 < 5 % / 4 looks
    assert found["n"] == 8
