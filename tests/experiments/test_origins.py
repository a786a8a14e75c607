"""What an arm starts from has been trained: an arm's settings reach the runs that it needs."""

from collections.abc import Iterator
from typing import Any

import pytest

from suexp.config.catalogue import Catalogue
from suexp.config.compose import resolve
from suexp.experiment.form import expand
from suexp.origins import origins

CATALOGUE = Catalogue(None)
SLUGS = sorted(CATALOGUE.groups["experiment"])


def ancestors(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for origin in origins(config).values():
        yield origin
        yield from ancestors(origin)


@pytest.mark.parametrize("slug", SLUGS)
def test_no_arm_starts_from_a_run_that_does_nothing(slug: str) -> None:
    """No steps behind a copy: the arm was to start from another one, and changed it."""
    form = expand(CATALOGUE.option("experiment", slug).content, "laptop")
    for arm, overrides in form["arms"].items():
        config = resolve([f"experiment={slug}", *overrides, "seed=0"]).config
        for origin in ancestors(config):
            target = (origin.get("transform") or {"_target_": "Copy"})["_target_"]
            idle = origin["trainer"]["max_steps"] == 0 and target.endswith("Copy")
            assert not (idle and origin.get("parent")), f"{arm}: name trainer.max_steps in `from`"
