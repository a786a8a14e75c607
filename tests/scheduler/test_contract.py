"""What every schedule keeps, whichever YAML is added to conf/scheduler."""

import importlib
import inspect
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

CONF = Path(__file__).parents[2] / "conf" / "scheduler"
OPTIONS = sorted(path.stem for path in CONF.glob("*.yaml"))
TOTAL = 40


def load(option: str, **changes: Any) -> partial[torch.optim.lr_scheduler.LRScheduler]:
    settings = yaml.safe_load((CONF / f"{option}.yaml").read_text())
    module, name = settings.pop("_target_").rsplit(".", 1)
    return partial(getattr(importlib.import_module(module), name), **{**settings, **changes})


def an_optimizer() -> torch.optim.Optimizer:
    groups = [{"params": [nn.Parameter(torch.ones(2))], "lr": lr} for lr in (0.5, 2.0)]
    return torch.optim.SGD(groups, lr=1.0)


def rates(scheduler: Any, steps: int) -> list[list[float]]:
    """Each group's learning rate in so many steps."""
    seen = []
    for _ in range(steps):
        seen.append([group["lr"] for group in scheduler.optimizer.param_groups])
        scheduler.optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("option", OPTIONS)
def test_yaml_lists_every_default(option: str) -> None:
    made = load(option)
    parameters = list(inspect.signature(made.func).parameters.values())[1:]
    assert [parameters[0].name, parameters[0].default] == ["total_steps", inspect.Parameter.empty]
    assert made.keywords == {p.name: p.default for p in parameters[1:]}


@pytest.mark.parametrize("option", OPTIONS)
def test_warms_up_to_each_group_s_own_peak(option: str) -> None:
    seen = rates(load(option, warmup=4)(an_optimizer(), total_steps=TOTAL), TOTAL)
    for step, share in enumerate((0.2, 0.4, 0.6, 0.8, 1.0)):
        assert seen[step] == pytest.approx([0.5 * share, 2 * share])
    assert max(seen) == seen[4]


@pytest.mark.parametrize("option", OPTIONS)
def test_a_share_and_a_number_of_steps_mean_the_same(option: str) -> None:
    share, number = (
        rates(load(option, warmup=warmup)(an_optimizer(), total_steps=TOTAL), TOTAL)
        for warmup in (0.2, 8)
    )
    assert share == number


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(("warmup", "total"), [(0.0, 1), (1, 1), (0.5, 1), (3, 3), (0, 5)])
def test_short_runs(option: str, warmup: float, total: int) -> None:
    seen = rates(load(option, warmup=warmup)(an_optimizer(), total_steps=total), total + 3)
    assert all(0 < lr <= 2 for step in seen for lr in step)
    if not warmup:
        assert seen[0] == [0.5, 2.0]


@pytest.mark.parametrize("option", OPTIONS)
def test_resumed_equals_uninterrupted(option: str) -> None:
    make = load(option)
    straight = rates(make(an_optimizer(), total_steps=TOTAL), TOTAL)
    for stop in (2, 17):  # in the warm-up and after it
        first = make(an_optimizer(), total_steps=TOTAL)
        seen = rates(first, stop)
        file = BytesIO()
        torch.save((first.state_dict(), first.optimizer.state_dict()), file)
        file.seek(0)
        state, optimizer_state = torch.load(file, weights_only=True)
        again = make(an_optimizer(), total_steps=TOTAL)
        again.load_state_dict(state)
        again.optimizer.load_state_dict(optimizer_state)
        assert seen + rates(again, TOTAL - stop) == straight


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
