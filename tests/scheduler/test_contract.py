"""What every schedule keeps, whichever YAML is added to conf/scheduler."""

import inspect
from functools import partial
from typing import Any

import pytest
import torch

from suexp.contract.check import Check, checks
from suexp.contract.scheduler import TOTAL, an_optimizer
from suexp.contract.subject import Subject
from tests.support.options import content, options

OPTIONS = options("scheduler")


def subject(option: str) -> Subject:
    return Subject(f"scheduler={option}", "scheduler", content("scheduler", option))


def load(option: str, **changes: Any) -> partial[torch.optim.lr_scheduler.LRScheduler]:
    return subject(option).made(**changes)


@pytest.mark.parametrize("check", checks("scheduler"), ids=str)
@pytest.mark.parametrize("option", options("scheduler"))
def test_keeps_the_contract(option: str, check: Check) -> None:
    check(subject(option))


@pytest.mark.parametrize("option", OPTIONS)
def test_yaml_lists_every_default(option: str) -> None:
    made = load(option)
    parameters = list(inspect.signature(made.func).parameters.values())[1:]
    assert [parameters[0].name, parameters[0].default] == ["total_steps", inspect.Parameter.empty]
    assert made.keywords == {p.name: p.default for p in parameters[1:]}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup": -1}, "warmup=-1 must not be negative"),
        ({"warmup": 1.5}, "warmup=1.5: give a share below 1 or a whole number of steps"),
        ({"warmup": 41}, "warmup=41 steps do not fit into total_steps=40; give a share"),
        ({"total_steps": 0}, "total_steps=0: a schedule needs at least one step"),
        ({"final_ratio": 1.5}, r"final_ratio=1.5 must lie in \[0, 1\]"),
    ],
)
def test_refuses_what_cannot_be(option: str, changes: dict[str, Any], message: str) -> None:
    make = load(option)
    if "final_ratio" in changes and "final_ratio" not in make.keywords:
        pytest.skip("it has no final ratio")
    with pytest.raises(ValueError, match=message) as caught:
        make(an_optimizer(), **{"total_steps": TOTAL, **changes})
    assert "\n" not in str(caught.value)
