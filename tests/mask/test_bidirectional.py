from suexp.mask import Bidirectional


def test_everything_is_visible_and_nothing_is_stored() -> None:
    assert Bidirectional().dense(5, 7) is None
