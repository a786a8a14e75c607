"""Named sources: runs beside the parent that a run needs, which are trained first, and once."""

from pathlib import Path

import pytest

from suexp.config.compose import resolve
from suexp.config.quoting import readable
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.processes import _order
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.store.spec import RunSpec
from tests.support.tiny import tiny

DISTILL = ("method=distill", "method.distill.source=teacher", "method.distill.alpha=1")
TEACHER = readable("sources={teacher:[trainer.max_steps=3,model.dim=32]}")


@pytest.mark.slow
def test_a_student_learns_from_one_run_and_starts_from_another(tmp_path: Path) -> None:
    start = 'parent=["trainer.max_steps=2"]'
    spec = spec_of(tiny(tmp_path, *DISTILL, TEACHER, start, "trainer.max_steps=4"))
    assert list(spec.origins) == ["parent", "teacher"]
    teacher = spec.origins["teacher"]
    assert teacher.config["model"]["dim"] == 32
    assert teacher.config["method"] == {}
    assert teacher.config["sources"] is teacher.config["parent"] is None
    # It is a run like any other: by its own command it is the same.
    assert teacher.id == spec_of(tiny(tmp_path, "trainer.max_steps=3", "model.dim=32")).id

    summary = execute(spec)
    assert summary.finished, summary.error
    found = {name: Run(origin).summary() for name, origin in spec.origins.items()}
    own = summary.cost["steps"] * summary.cost["flops_per_step"]
    before = [s.cost["steps"] * s.cost["flops_per_step"] for s in found.values() if s]
    assert len(before) == 2
    assert summary.cost["flops"] == own + sum(before)
    # With alpha = 1 the task's own loss has no part: only the teacher can tell two runs apart.
    other = TEACHER.replace("max_steps=3", "max_steps=1")
    again = spec_of(tiny(tmp_path, *DISTILL, other, start, "trainer.max_steps=4"))
    assert again.id != spec.id
    assert execute(again).metrics["val/loss"] != summary.metrics["val/loss"]


def test_a_run_that_two_others_need_is_one_run(tmp_path: Path) -> None:
    short = """'parent="trainer.max_steps=1 seed=0"'"""
    sources = f"sources={{a:['seed=1',{short}],b:['seed=2',{short}]}}"
    spec = spec_of(tiny(tmp_path, *DISTILL[:1], "method.distill.source=a", sources))
    parents = {spec.origins[name].origins["parent"].id for name in "ab"}
    assert len(parents) == 1
    assert {*spec.ancestors()} == {*parents, *(origin.id for origin in spec.origins.values())}


def test_the_saved_run_has_its_sources(tmp_path: Path) -> None:
    spec = spec_of(tiny(tmp_path, *DISTILL, TEACHER))
    spec.save(tmp_path / "spec.json")
    loaded = RunSpec.load(tmp_path / "spec.json", [])
    assert loaded.id == spec.id
    assert loaded.origins["teacher"].id == spec.origins["teacher"].id


def test_a_shared_source_is_trained_by_the_first_run_that_needs_it(tmp_path: Path) -> None:
    arms = [
        spec_of(tiny(tmp_path, *DISTILL, TEACHER, f"method.distill.temperature={t}"))
        for t in (1, 2)
    ]
    plain = spec_of(tiny(tmp_path))
    assert _order([*arms, plain]) == [0, 2, 1]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["sources={parent:[seed=1]}"], "sources.parent: a source's name is a word, not parent"),
        (["sources={teacher:3}"], "sources"),
        (["sources={teacher:[modle.dim=3]}"], "modle"),
        (["sources={teacher:[allow_targets=os]}"], "allow_targets=os does not count there"),
    ],
)
def test_mistakes(tmp_path: Path, overrides: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        resolve(tiny(tmp_path, *map(readable, overrides)))


def test_a_failed_source_is_named(tmp_path: Path) -> None:
    config = resolve(tiny(tmp_path, *DISTILL, TEACHER)).config
    config["sources"]["teacher"]["loss"]["label_smoothing"] = 2
    with pytest.raises(UserError, match=r"the teacher run \w+ failed: CrossEntropy"):
        execute(RunSpec.of(config))
