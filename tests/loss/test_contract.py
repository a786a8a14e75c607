"""What every loss over scores keeps, and every loss for tagging."""

import pytest

from suexp.contract.check import Check, checks
from suexp.contract.loss import Judged
from suexp.contract.subject import Subject
from tests.support.options import content, options

ASKED = {
    *("cross_entropy", "focal", "gce", "softmax_accuracy", "tailr", "tvd"),
    *("crf", "memm", "softmax_tagging"),
}


def subject(option: str) -> Subject:
    node = content("loss", option)
    known = {key: None if "${" in str(value) else value for key, value in node.items()}
    return Subject(f"loss={option}", "loss", known)


@pytest.mark.parametrize("check", checks("loss"), ids=str)
@pytest.mark.parametrize("option", options("loss"))
def test_keeps_the_contract(option: str, check: Check) -> None:
    check(subject(option))


def test_what_is_asked_of_which() -> None:
    assert {option for option in options("loss") if Judged(subject(option)).asked} == ASKED
