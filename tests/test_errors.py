import pytest

from suexp.errors import UserError, at_least, between, one_of, some


def test_a_value_below_its_bound_is_named() -> None:
    at_least(1, dim=1, num_layers=7, max_rows=None)
    with pytest.raises(ValueError, match=r"^num_layers must be at least 1, not 0$"):
        at_least(1, dim=1, num_layers=0)
    with pytest.raises(ValueError, match=r"^data\.noise must be at least 0, not -0\.5$"):
        at_least(0, "data", noise=-0.5)
    with pytest.raises(ValueError, match=r"^beta must be at least 0, not nan$"):
        at_least(0, beta=float("nan"))


def test_a_value_above_its_bound_is_named() -> None:
    with pytest.raises(ValueError, match=r"^dim must be at most 2147483647, not 2147483648$"):
        at_least(1, dim=2**31)
    with pytest.raises(ValueError, match=r"^num_layers must be at most 10, not inf$"):
        at_least(1, most=10, num_layers=float("inf"))


def test_a_mistake_is_one_line_whatever_is_in_it() -> None:
    said = str(UserError("out=a\nb\r\x1b[31m科学\u202e: " + "9" * 5000))
    assert said.startswith("out=a\\nb\\r\\x1b[31m科学\\u202e: 999")
    assert said.endswith("9" * 40)
    assert len(said) < 300
    assert str(UserError(said)) == said


def test_another_value_than_the_known_is_named() -> None:
    one_of(("pre", "post"), norm_order="pre")
    with pytest.raises(ValueError, match=r"^norm_order must be one of pre, post, not in$"):
        one_of(("pre", "post"), norm_order="in")


def test_a_value_outside_its_interval_is_named() -> None:
    between("[0, 1)", dropout=0.0, share=None, betas=[0.9, 0.999])
    for value in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"^dropout must be in \[0, 1\), not "):
            between("[0, 1)", dropout=value)
    with pytest.raises(ValueError, match=r"^sigmas must be above 0, not 0$"):
        between("(0, inf)", sigmas=[1, 0])


def test_a_list_without_entries_is_named() -> None:
    some(lengths=[1])
    with pytest.raises(ValueError, match=r"^lengths must have an entry, not \[\]$"):
        some(lengths=())
