"""What every method keeps, built from its YAML."""

import pytest

from suexp.contract.check import Check, checks
from suexp.contract.subject import Subject
from tests.support.options import content, options

# Those that take nothing of the rest of a config.
OPTIONS = [
    option
    for option in options("method")
    if option != "none" and "${" not in repr(content("method", option))
]


@pytest.mark.parametrize("check", checks("method"), ids=str)
@pytest.mark.parametrize("option", OPTIONS)
def test_keeps_the_contract(option: str, check: Check) -> None:
    check(Subject(f"method={option}", "method", content("method", option)))
