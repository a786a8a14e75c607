"""What composes but cannot work is refused in one line, and torch is not asked."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from suexp import folders
from suexp.code import source
from suexp.code.source import Module
from suexp.config.check import _check_needs, _Chosen, _components, check
from suexp.config.fits import mismatch
from suexp.errors import UserError
from tests.cli.tree import write_tree

CHOICES = {
    "attention": "performer",
    "position": "rope",
    "optimizer": "lion",
    "task": "lm",
    "data": "text",
}


def config(**changes: dict[str, Any] | None) -> dict[str, Any]:
    base: dict[str, Any] = {
        "attention": {"_target_": "tiny_parts.Performer", "num_features": 64, "kind": "positive"},
        "position": {"_target_": "tiny_parts.Rope", "base": 10000.0},
        "optimizer": {"_target_": "tiny_parts.Lion", "lr": 1e-4, "betas": [0.9, 0.99]},
        "task": {"_target_": "tiny_parts.LM", "num_points": 3},
        "data": {"_target_": "tiny_parts.Text", "block_size": 32},
        "seed": 0,
        "allow_targets": ["tiny_parts", "zlib"],
    }
    for key, value in changes.items():
        base[key] = value if value is None or "_target_" in value else {**base[key], **value}
    return base


@pytest.fixture(autouse=True)
def _tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    write_tree(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(folders, "_shipped", tmp_path.joinpath)
    source.read.cache_clear()
    source.package_path.cache_clear()
    yield
    source.read.cache_clear()
    source.package_path.cache_clear()


def refusal(choices: dict[str, str] | None = None, **changes: dict[str, Any] | None) -> str:
    with pytest.raises(UserError) as raised:
        check(config(**changes), {**CHOICES, **(choices or {})})
    return str(raised.value)


def test_the_base_is_right() -> None:
    check(config(), CHOICES)


def test_a_refused_feature_names_who_brings_it() -> None:
    line = refusal({"position": "alibi"}, position={"_target_": "tiny_parts.Alibi"})
    assert line == (
        "attention=performer cannot be combined with position=alibi: "
        "it never forms the scores; use position=rope"
    )


def test_a_refused_choice() -> None:
    line = refusal({"task": "vectors"}, task={"_target_": "tiny_parts.Vectors"})
    assert line == ("attention=performer cannot be combined with task=vectors: no reason at all")


def test_a_need_that_nobody_meets() -> None:
    changes = {"attention": {"_target_": "tiny_parts.Softmax", "dropout": 0.0}}
    choices = {"attention": "softmax", "task": "vectors"}
    line = refusal(choices, task={"_target_": "tiny_parts.Vectors"}, **changes)
    assert line == "task=vectors needs vectors: it reads vectors; use data=digits"


def test_one_of_several_needs_is_enough() -> None:
    nothing = _Chosen("data", "data=x", ("patches",), {}, {})
    model = _Chosen("model", "model=m", (), {"text or patches": "it reads both; use data=y"}, {})
    _check_needs([nothing, model])
    with pytest.raises(UserError, match="model=m needs text or patches: it reads both; use data=y"):
        _check_needs([model])


def test_a_parent_is_a_feature() -> None:
    found = _components({"parent": ["seed=1"]}, {})
    assert [item.group for item in found] == ["parent"]
    assert not list(_components({"parent": None}, {}))


@pytest.fixture
def demanding_task(tmp_path: Path) -> Iterator[None]:
    parts = tmp_path / "tiny_parts.py"
    needs = '{"long": "it reads long text", "labels": "it reads labels"}'
    parts.write_text(parts.read_text().replace('{"text": "it reads text; use data=text"}', needs))
    source._parse.cache_clear()
    yield
    source._parse.cache_clear()


@pytest.mark.usefixtures("demanding_task")
def test_features_on_a_condition() -> None:
    check(config(data={"kind": "classes"}), CHOICES)
    line = refusal(data={"kind": "classes", "block_size": 0})
    assert line == "task=lm needs long: it reads long text"
    assert refusal(data={"kind": "lm"}) == "task=lm needs labels: it reads labels"


@pytest.mark.usefixtures("demanding_task")
def test_without_a_value_the_constructors_default_decides() -> None:
    changed = config(data={"kind": "classes"})
    del changed["data"]["block_size"]
    check(changed, CHOICES)
    assert refusal() == "task=lm needs labels: it reads labels"


def test_needs_and_refusals_on_a_condition(tmp_path: Path) -> None:
    parts = tmp_path / "tiny_parts.py"
    needs = '{"labels if num_points=5": "five points have labels"}'
    parts.write_text(parts.read_text().replace('{"text": "it reads text; use data=text"}', needs))
    source._parse.cache_clear()
    check(config(), CHOICES)
    assert refusal(task={"num_points": 5}) == "task=lm needs labels: five points have labels"
    parts.write_text(
        parts.read_text().replace(
            'needs: ClassVar[dict[str, str]] = {"labels if',
            'refuses: ClassVar[dict[str, str]] = {"text if',
        )
    )
    source._parse.cache_clear()
    source.read.cache_clear()
    check(config(), CHOICES)
    line = refusal(task={"num_points": 5})
    assert line == "task=lm cannot be combined with data=text: five points have labels"
    source._parse.cache_clear()


@pytest.mark.parametrize(
    ("group", "key", "value", "line"),
    [
        ("optimizer", "lr", "abc", "optimizer.lr: 'abc' is not a float"),
        ("optimizer", "lr", True, "optimizer.lr: true is not a float"),
        ("optimizer", "lr", None, "optimizer.lr: null is not a float"),
        ("optimizer", "betas", [0.9], "optimizer.betas: [0.9] is not a list of 2 floats"),
        ("optimizer", "betas", 0.9, "optimizer.betas: 0.9 is not a list of 2 floats"),
        (
            "optimizer",
            "momentum_dtype",
            16,
            "optimizer.momentum_dtype: 16 is not a string or null; quote it: '\"16\"'",
        ),
        (
            "attention",
            "num_features",
            64.0,
            "attention.num_features: 64.0 is not an int; write 64",
        ),
        (
            "attention",
            "kind",
            "positve",
            "attention.kind: 'positve' is none of 'positive', 'trigonometric'; "
            "did you mean positive?",
        ),
        (
            "attention",
            "kind",
            "zzz",
            "attention.kind: 'zzz' is none of 'positive', 'trigonometric'",
        ),
        ("task", "num_points", "x", "task.num_points: 'x' is not a list of ints or an int"),
        (
            "optimizer",
            "beta",
            0.9,
            "optimizer.beta: Lion takes no 'beta'; did you mean optimizer.betas?",
        ),
        (
            "position",
            "zzz",
            1,
            "position.zzz: Rope takes no 'zzz'; choose from base",
        ),
    ],
)
def test_values_and_keys(group: str, key: str, value: Any, line: str) -> None:
    assert refusal(**{group: {key: value}}) == line


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("optimizer", "lr", 1),
        ("optimizer", "momentum_dtype", "bfloat16"),
        ("optimizer", "betas", [1, 0.5]),
        ("task", "num_points", [3, 4]),
        ("attention", "kind", "trigonometric"),
    ],
)
def test_values_that_fit(group: str, key: str, value: Any) -> None:
    check(config(**{group: {key: value}}), CHOICES)


def test_parts_within_parts_are_checked_once_and_by_their_own_name() -> None:
    whole = config()
    whole["model"] = {"_target_": "zlib.Model", "attention": dict(whole["attention"])}
    check(whole, CHOICES)
    whole["model"]["norm"] = {"_target_": "tiny_parts.Rope", "base": "x"}
    with pytest.raises(UserError, match=r"^model\.norm\.base: 'x' is not a float$"):
        check(whole, CHOICES)


def test_keys_that_the_options_yaml_gives_to_the_runner(tmp_path: Path) -> None:
    yaml = tmp_path / "conf" / "position" / "rope.yaml"
    yaml.write_text(yaml.read_text() + "for_the_runner: 3\n")
    check(config(position={"for_the_runner": 4}), CHOICES)


def test_positions_end_before_the_text_does() -> None:
    learned = {"_target_": "tiny_parts.Learned", "max_length": 16}
    line = refusal({"position": "learned"}, position=learned)
    assert line == (
        "position.max_length=16 is shorter than the text, data.block_size=32; "
        "set position.max_length=32 or data.block_size=16"
    )
    check(config(position={**learned, "max_length": 32}), {**CHOICES, "position": "learned"})


def test_classes_without_source_and_empty_choices_pass() -> None:  # zlib is compiled
    check(config(optimizer={"_target_": "zlib.at.All", "x": 1}), CHOICES)
    check(config(position=None), CHOICES)
    check({}, {})


@pytest.mark.parametrize(
    ("value", "annotation", "fits"),
    [
        (1, "float", True),
        (True, "int", False),
        (1, "Literal[1, 2]", True),
        (True, "Literal[1, 2]", False),
        (None, "Optional[int]", True),
        (1.5, "Union[int, str]", False),
        ([1, 2], "Sequence[int]", True),
        ([1, "a"], "list[int]", False),
        ([1, 2, 3], "tuple[int, ...]", True),
        ({"a": 1}, "dict[str, int]", True),
        ({"a": "b"}, "Mapping[str, int]", False),
        ([1], "dict", False),
        ("x", "'str | None'", True),
        ("x", "Path", True),
        ("x", "SomethingElse", True),
        ({"_target_": "a.B"}, "int", True),
        ("x", "'not python'", True),
    ],
)
def test_annotations(value: Any, annotation: str, fits: bool) -> None:
    module = Module("m", Path("m.py"), ast.parse(""))
    line = mismatch(value, ast.parse(annotation, mode="eval").body, module)
    assert (line == "") == fits, line


def test_gradients_are_accumulated_once() -> None:
    config = {"trainer": {"accumulate_grad_batches": 2}, "optimizer": {"grad_accum_steps": 4}}
    with pytest.raises(UserError, match="accumulate once, in the trainer or in the optimizer"):
        check(config, {})
    check({**config, "trainer": {"accumulate_grad_batches": 1}}, {})


def test_what_is_accumulated_in_the_optimizer_is_not_clipped() -> None:
    config = {"trainer": {"gradient_clip_val": 1.0}, "optimizer": {"grad_accum_steps": 4}}
    with pytest.raises(UserError, match=r"set trainer\.gradient_clip_val=null"):
        check(config, {})
    check({**config, "optimizer": {"grad_accum_steps": 1}}, {})
