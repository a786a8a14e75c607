"""The runner's own keys: types, bounds, and that none is lost."""

import pytest

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.experiment.plan import plan
from tests.support.tiny import TINY

WRONG = {
    "~task": "task: a run needs one; leave out ~task, or choose task=causal_lm",
    "~trainer": "trainer: a run needs one; leave out ~trainer, or choose trainer=auto",
    "~loss": "loss: a run needs one; leave out ~loss, or choose loss=cross_entropy",
    "~scheduler": "scheduler: a run needs one; leave out ~scheduler, or choose scheduler=cosine",
    "~scale": "scale: every run needs it; leave out ~scale",
    "~scale.name": "scale.name: the name of a scale, not None",
    "~out": "out: every run needs it; leave out ~out",
    "~seed": "seed: null is not an int",
    "~parent": "~parent: nothing stands there; leave it out",
    "~trainer.max_steps": "trainer.max_steps: Trainer needs it; leave out ~trainer.max_steps",
    "~model._target_": "model._target_: is missing; choose an option, model=transformer",
    "seed=-1": "seed must be at least 0, not -1",
    "seed=4294967296": "seed must be at most 4294967295, not 4294967296",
    "seed=[1,2]": "seed: [1, 2] is not an int",
    "threads=0": "threads must be at least 1, not 0",
    "threads=100000000": "threads must be at most 1024, not 100000000",
    "threads=1e300": "threads: 1e+300 is not an int or null",
    "rerun=maybe": "rerun: 'maybe' is not true or false",
    "on_error=go": "on_error: 'go' is none of 'continue', 'stop'",
    "out=[1]": "out: [1] is not a string",
    "parent=5": "parent: 5 is not a string or a list of strings or null; quote it: '\"5\"'",
    'parent="\'"': "parent=': No closing quotation",
    "run=5": "run: 5 is not a mapping or null",
    "callbacks=x": "callbacks: 'x' is not a mapping or null",
    "allow_targets=1.5": "allow_targets: 1.5 is no package; say allow_targets=[my_package]",
    "model.ffn_multiplier=9223372036854775808": (
        "model.ffn_multiplier: 9223372036854775808 is not an int of 64 bits"
    ),
    "task._target_=a/b": "task._target_: a/b is not the dotted name of a class",
    'model.dim="3\n4"': "3\\n4 does not divide by 4 (model.dim by model.num_heads?)",
    "out=${hydra:runtime.cwd}": (
        "${hydra:runtime.cwd}: a run's config does not read Hydra's; type the value"
    ),
    "norm.dim=1": "norm.dim=1: it is the model's, model.dim=128; leave it out",
    "loss=[[1,2],[3]]": "loss=[[1,2],[3]]: a choice is an option's name, or a list of names",
    "task=[null]": "task=[null]: a choice is an option's name, or a list of names",
    "task=${seed}": "task=${seed}: a choice is an option's name, or a list of names",
    "hydra/sweeper=[1,2]": "hydra/sweeper=[1,2]: a choice is an option's name, or a list of names",
}


def line(*overrides: str) -> str:
    with pytest.raises(UserError) as raised:
        resolve(overrides)
    return str(raised.value)


@pytest.mark.parametrize("override", WRONG)
def test_a_mistake_in_an_own_key(override: str) -> None:
    assert line(override) == WRONG[override]


def test_a_number_without_end() -> None:
    said = line(f"seed={'9' * 5000}")
    assert said.startswith("seed=999")
    assert said.endswith("9: a number of more than 4300 digits")
    assert len(said) < 400


def test_what_a_formula_makes_needs_no_optimizer() -> None:
    found = resolve(["task=analytic_classification", "data=docstring_topic", "model=transformer"])
    assert found.config.get("optimizer") is None


@pytest.mark.parametrize("endless", ["seed=range(0,999999999)", "model.dim=range(1,999999999)"])
def test_a_sweep_without_end(endless: str) -> None:
    with pytest.raises(UserError, match=r"makes it a sweep of more than 10000 runs$"):
        plan([*TINY, "optimizer=adamw,lion", endless])
