"""What every sampler does: options are found by themselves."""

import pytest

from suexp.contract.check import Check, checks
from suexp.contract.subject import Subject
from tests.support.options import content, options


def subject(option: str) -> Subject:
    return Subject(f"sampler={option}", "sampler", content("sampler", option))


@pytest.mark.parametrize("check", checks("sampler"), ids=str)
@pytest.mark.parametrize("option", options("sampler"))
def test_keeps_the_contract(option: str, check: Check) -> None:
    check(subject(option))
