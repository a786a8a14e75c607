"""A number that depends on the step: its values, and what a config may say of it."""

import doctest
import math
from typing import Any

import pytest

import suexp.nn.ramp
from suexp.code.source import read
from suexp.config.fits import mismatch
from suexp.config.overrides import typed
from suexp.experiment.settings import overrides
from suexp.nn.ramp import Ramp, ramp


@pytest.mark.parametrize("step", [0, 1, 10**9])
def test_a_number_stays_that_number(step: int) -> None:
    assert ramp(0.3, "rate")(step) == 0.3
    assert ramp(2, "rate")(step) == 2


def test_linear() -> None:
    rate = Ramp(0.25, 1.0, 3)
    assert [rate(t) for t in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert [Ramp(1, 0, 4)(t) for t in range(5)] == [1, 0.75, 0.5, 0.25, 0]


def test_cosine_starts_and_ends_flat() -> None:
    rate = Ramp(1.0, 3.0, 100, "cosine")
    assert rate(0) == 1
    assert rate(50) == pytest.approx(2)
    assert rate(25) == pytest.approx(2 - math.cos(math.pi / 4))
    assert rate(1) - rate(0) < 1e-3 < rate(50) - rate(49)
    assert rate(100) == rate(101) == 3


def test_constant_jumps_at_its_end() -> None:
    rate = Ramp(0.5, 1.0, 10, "constant")
    assert [rate(t) for t in (0, 9, 10, 11)] == [0.5, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
def test_no_steps_is_the_end_and_the_end_is_exact(kind: Any) -> None:
    assert Ramp(0.1, 0.7, 0, kind)(0) == 0.7
    assert all(Ramp(0.1, 0.7, s, kind)(s) == 0.7 for s in range(1, 50))
    assert all(0.1 <= Ramp(0.1, 0.7, 30, kind)(t) <= 0.7 for t in range(31))


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"start": 0, "end": 1}, r"rate needs steps: \{start: 0"),
        ({"start": 0, "end": 1, "step": 3}, "rate has no 'step'; did you mean steps"),
        ({"start": 0, "end": 1, "steps": 3, "kind": "cos"}, "rate: kind is one of constant"),
        ({"start": 0, "end": 1, "steps": 2.5}, "rate: steps must be a whole number"),
        ({"start": 0, "end": 1, "steps": -1}, "rate: steps must be at least 0"),
        ({"start": "a", "end": 1, "steps": 1}, "rate: start must be a number, not 'a'"),
        ({"start": 0, "end": float("inf"), "steps": 1}, "rate: end must be finite"),
        ({"start": 0, "end": 1.5, "steps": 1}, r"rate must be in \[0, 1\], not 1.5"),
        (-0.5, r"rate must be in \[0, 1\], not -0.5"),
        (float("nan"), "rate: start must be finite, not nan"),
        (True, "rate: start must be a number"),
    ],
)
def test_what_is_no_ramp(said: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ramp(said, "rate", low=0, high=1)


def test_only_a_lower_bound() -> None:
    with pytest.raises(ValueError, match="epsilon must be at least 0, not -1"):
        ramp(-1, "epsilon", low=0)


def test_a_config_may_say_either() -> None:
    source = read("suexp.nn.ramp.ramp")
    assert source is not None
    annotation = source.signature.parameters["value"].annotation
    assert annotation is not None
    module = source.module
    for fitting in (0.3, 1, {"start": 0, "end": 0.3, "steps": 10, "kind": "cosine"}):
        assert mismatch(fitting, annotation, module) == ""
    assert mismatch("fast", annotation, module)
    assert mismatch([1], annotation, module)


def test_an_arm_states_it_as_one_value() -> None:
    said = {"start": 0, "end": 0.3, "steps": 200}
    expected = [f"method.m.rate={typed(said)}"]
    assert overrides({"method.m.rate": said}, {}) == expected
    assert overrides({"method": {"m": {"rate": said}}}, {}) == expected


def test_its_example() -> None:
    assert doctest.testmod(suexp.nn.ramp).failed == 0
