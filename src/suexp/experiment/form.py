"""The form of an experiment: what its file says of one scale.

    base: {data: {patch: 2}}                    what every arm starts with
    let: {two: {model.num_layers: 2}}           settings that arms name, as they do other arms
    arms:                                       see `suexp.experiment.settings`
      plain: {}
      small: two
      hot: [two, optimizer.lr: 1e-2]
    scales:
      paper: {only: [plain, small], base: {data: hub}, overrides: {trainer: gpu}}

What a scale says of `base`, `seeds`, `tune`, `claims`, `expect`, `figures` takes the place of the
experiment's own; its `let` and `arms` are added; its `only` leaves arms out, with what is claimed
and drawn of them; its `overrides` win over arms.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from suexp.errors import UserError
from suexp.experiment import levels
from suexp.experiment.settings import Keys, Mistake, Named, overrides, shown
from suexp.experiment.tuning import apart, name_of
from suexp.judge.claims import check_claims
from suexp.judge.expression import Claim
from suexp.near import near
from suexp.report.figures import check_figures


def expand(form: Mapping[str, Any], scale: str) -> dict[str, Any]:
    """Return an experiment at a scale, its `base`, `arms` and `overrides` as lists of overrides.

    Args:
        form: the experiment's own keys, their types checked (`suexp.experiment.schema`).
        scale: the scale's name.

    Raises:
        Mistake: an unknown name or arm, a circle of names, a claim or figure that cannot be read.
    """
    changes = (form.get("scales") or {}).get(scale) or {}
    now = {key: value for key, value in {**form, **changes}.items() if value is not None}
    at: dict[str, Keys] = {key: ("scales", scale) if key in changes else () for key in now}
    arms = _named(form, "arms", ()) | _named(changes, "arms", ("scales", scale))
    let = _named(form, "let", ()) | _named(changes, "let", ("scales", scale))
    names = arms | let

    def settings(key: str) -> list[str]:
        return overrides(now[key], names, (*at[key], key)) if key in now else []

    base = settings("base")
    every = {arm: [*base, *overrides(item, names, keys)] for arm, (keys, item) in arms.items()}
    if not every:
        raise Mistake(("arms",), "arms: there are none; give it some, named settings")
    there = _only(changes.get("only"), every, ("scales", scale, "only"))
    asked = _only(form.get("only"), there, ("only",))
    claims = {
        name: _claim(name, claim, scale, there if at["claims"] else every, at["claims"])
        for name, claim in now.get("claims", {}).items()
    }
    expect = {
        name: _level_arm(name, there if at["expect"] else every, at["expect"])
        for name in now.get("expect", {})
    }
    figures = {
        name: _figure_arms(name, figure, there if at["figures"] else every, at["figures"])
        for name, figure in now.get("figures", {}).items()
    }
    made = {name: claim for name, claim in claims.items() if {*claim.arms} <= {*asked}}
    tune = _tune(now["tune"], every, at["tune"]) if "tune" in now else None
    if tune:
        tune["apart"] = apart(tune, claims.values())
    if tune and not tune.get("unequal"):
        _equal_budgets(tune, made, at["tune"])
    return {
        "post": form["post"],
        "seeds": now.get("seeds", form["seeds"]),
        "base": base,
        "arms": {arm: every[arm] for arm in asked},
        "overrides": settings("overrides") if "overrides" in changes else [],
        "tune": tune,
        "claims": {name: now["claims"][name] for name in made},
        "expect": {name: now["expect"][name] for name in expect if expect[name] in asked},
        "figures": {name: now["figures"][name] for name in figures if figures[name] <= {*there}},
    }


def _named(part: Mapping[str, Any], key: str, at: Keys) -> dict[str, Named]:
    return {name: Named((*at, key, name), item) for name, item in (part.get(key) or {}).items()}


def _only(wanted: Sequence[str] | None, arms: Collection[str], keys: Keys) -> list[str]:
    """Return the arms that are wanted, all where nothing is said."""
    for arm in wanted or ():
        if arm not in arms:
            raise Mistake(keys, f"only: there is no arm {arm!r}{near(arm, arms)}")
    return list(arms if wanted is None else wanted)


def _tune(tune: Mapping[str, Any], arms: Collection[str], at: Keys) -> dict[str, Any]:
    """Return what is tuned; values of several keys become the overrides of each combination."""
    grid: dict[str, list[Any]] = {}
    points: dict[str, list[dict[str, Any]]] = {}
    for arm, values in tune["grid"].items():
        keys = (*at, "tune", "grid", arm)
        if arm not in arms:
            raise Mistake(keys, f"tune.grid: there is no arm {arm!r}{near(arm, arms)}")
        lists = values if isinstance(values, Mapping) else {tune["parameter"]: values}
        if not lists or not all(
            isinstance(i, list) and i and not _nested(i) for i in lists.values()
        ):
            message = "expected a list of values, or {key: values, ...} for all combinations"
            raise Mistake(keys, f"tune.grid.{arm}: {message}; found {shown(values)}")
        product = itertools.product(*lists.values())
        points[arm] = [dict(zip(lists, point, strict=True)) for point in product]
        grid[arm] = [name_of(point, tune["parameter"]) for point in points[arm]]
    return {**tune, "grid": grid, "points": points}


def _equal_budgets(tune: Mapping[str, Any], claims: Mapping[str, Claim], at: Keys) -> None:
    """Refuse arms that a claim compares after unequal searches."""
    sizes = {arm: len(values) for arm, values in tune["grid"].items()}
    for name, claim in claims.items():
        counts = {arm: sizes[arm] for arm in sorted({*claim.arms} & {*sizes})}
        if len({*counts.values()}) > 1:
            told = ", ".join(f"{arm} {count}" for arm, count in counts.items())
            message = f"claims.{name} compares arms with unequal numbers of trials: {told}; "
            message += "make them equal, or say why in tune.unequal"
            raise Mistake((*at, "tune", "grid"), f"tune.grid: {message}")


def _nested(values: list[Any]) -> bool:
    return any(isinstance(value, (list, Mapping)) or value is None for value in values)


def _claim(name: str, claim: Any, scale: str, arms: Collection[str], at: Keys) -> Claim:
    """Check a claim, and parse it."""
    try:
        return check_claims({name: claim}, arms, scale)[name]
    except UserError as error:
        raise Mistake((*at, "claims", name), str(error)) from error


def _level_arm(name: str, arms: Collection[str], at: Keys) -> str:
    """Check an expected level; return its arm."""
    try:
        return levels.read(name, [*arms]).arm
    except UserError as error:
        raise Mistake((*at, "expect", name), str(error)) from error


def _figure_arms(name: str, figure: Any, arms: Collection[str], at: Keys) -> set[str]:
    """Check a figure; return the arms that it names."""
    try:
        check_figures({name: figure}, arms)
    except UserError as error:
        raise Mistake((*at, "figures", name), str(error)) from error
    return {*(figure.get("arms") or ())}
