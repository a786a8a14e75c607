"""What every data set keeps, of those that are made in memory."""

import pytest

from suexp.contract.check import Check, checks
from suexp.contract.subject import Subject
from tests.support.options import content

OPTIONS = (
    "counter",
    "digits",
    "gaussian_classes",
    "mixture2d",
    "plane_waves",
    "recall",
    "ring",
    "two_modes",
)


@pytest.mark.parametrize("check", checks("data"), ids=str)
@pytest.mark.parametrize("option", OPTIONS)
def test_keeps_the_contract(option: str, check: Check) -> None:
    check(Subject(f"data={option}", "data", content("data", option)))
