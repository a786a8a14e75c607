import pytest

from suexp.errors import at_least, one_of


def test_a_value_below_its_bound_is_named() -> None:
    at_least(1, dim=1, num_layers=7, max_rows=None)
    with pytest.raises(ValueError, match=r"^num_layers must be at least 1, not 0$"):
        at_least(1, dim=1, num_layers=0)
    with pytest.raises(ValueError, match=r"^data\.noise must be at least 0, not -0\.5$"):
        at_least(0, "data", noise=-0.5)
    with pytest.raises(ValueError, match=r"^beta must be at least 0, not nan$"):
        at_least(0, beta=float("nan"))


def test_another_value_than_the_known_is_named() -> None:
    one_of(("pre", "post"), norm_order="pre")
    with pytest.raises(ValueError, match=r"^norm_order must be one of pre, post, not in$"):
        one_of(("pre", "post"), norm_order="in")
