"""What every position code keeps, built from its YAML."""

import pytest

from suexp.contract.check import Check, checks
from suexp.contract.subject import Subject
from tests.support.options import content, options

SIZES = {"model.dim": 24, "model.key_dim": 8, "model.num_heads": 3, "data.block_size": 12}


def subject(option: str) -> Subject:
    node = content("position", option)
    known = {key: SIZES.get(str(value).strip("${}"), value) for key, value in node.items()}
    return Subject(f"position={option}", "position", known)


@pytest.mark.parametrize("check", checks("position"), ids=str)
@pytest.mark.parametrize("option", options("position"))
def test_keeps_the_contract(option: str, check: Check) -> None:
    check(subject(option))
