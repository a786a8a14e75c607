"""Looks of arms: no two the same, and far apart where they are seen together."""

from suexp.report.looks import categories, looks, steps, varied
from suexp.report.theme import CATEGORIES, ORDERED


def test_no_two_arms_look_the_same():
    arms = [f"arm{i}" for i in range(40)]
    assert len(set(looks(arms).values())) == 40
    assert len(set(categories(40))) == 40
    assert len(set(steps(40))) == 40


def test_eight_arms_have_eight_colours_of_one_style():
    found = list(looks([f"arm{i}" for i in range(8)]).values())
    assert [look.colour for look in found] == list(CATEGORIES)
    assert {look.dash for look in found} == {"-"}


def test_arms_of_one_figure_differ_in_colour_where_they_can():
    arms = [f"arm{i}" for i in range(24)]
    together = [arms[:3] + arms[8:11] + arms[16:18], arms[4:12]]
    found = looks(arms, together)
    for group in together:
        assert len({found[arm].colour for arm in group}) == len(group)
    assert len(set(found.values())) == 24


def test_an_arm_that_a_figure_names_in_vain_changes_nothing():
    assert looks(["a", "b"], [["a", "gone"]]) == looks(["a", "b"])


def test_numbers_rise_along_one_scale():
    places = [list(ORDERED).index(look.colour) for look in steps(11)]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 7)
    assert [look.colour for look in steps(2)] == [next(iter(ORDERED)), [*ORDERED][-1]]


def test_groups_of_an_arm_keep_its_colour():
    found = looks(["a", "b"])
    styles = [varied(found, "b", place) for place in range(4)]
    assert styles[0] == found["b"]
    assert {look.colour for look in styles} == {found["b"].colour}
    assert len(set(styles)) == 4
