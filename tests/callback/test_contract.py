"""What every callback keeps, built from its YAML."""

import pytest

from suexp.contract.check import Check, checks
from suexp.contract.subject import Subject
from tests.support.options import content, options

# Those that take nothing of the rest of a config.
OPTIONS = [
    option
    for option in options("callback")
    if option != "none" and "${" not in repr(content("callback", option))
]
GIVEN = {"places": {"split_at": 8}}  # what only a user can say


@pytest.mark.parametrize("check", checks("callback"), ids=str)
@pytest.mark.parametrize("option", OPTIONS)
def test_keeps_the_contract(option: str, check: Check) -> None:
    node = content("callback", option) | GIVEN.get(option, {})
    check(Subject(f"callback={option}", "callback", node))
