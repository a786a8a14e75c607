"""What every extrapolator does: options are found by themselves."""

import pytest

from suexp.contract.check import Check, checks
from suexp.contract.extrapolator import DIM
from suexp.contract.subject import Subject
from tests.support.options import content, options


def subject(option: str) -> Subject:
    return Subject(
        f"extrapolator={option}", "extrapolator", content("extrapolator", option) | {"dim": DIM}
    )


@pytest.mark.parametrize("check", checks("extrapolator"), ids=str)
@pytest.mark.parametrize("option", options("extrapolator"))
def test_keeps_the_contract(option: str, check: Check) -> None:
    check(subject(option))
