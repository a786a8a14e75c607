"""Search spaces in Hydra's sweep syntax."""

import pytest

from suexp.errors import UserError
from suexp.study.search import Parameter, parse

optuna = pytest.importorskip("optuna")
distributions = optuna.distributions

SYNTAX = {
    "choice(softmax,performer)": Parameter(("softmax", "performer")),
    "a,b,c": Parameter(("a", "b", "c")),
    "1,2,1": Parameter(("1", "2")),
    "true,null,0.5": Parameter(("True", "null", "0.5")),
    "choice('x y','[1,2]')": Parameter(("x\\ y", "\\[1\\,2\\]")),
    "'x y',z": Parameter(("'x y'", "z")),
    "[1,2],[3]": Parameter(("[1,2]", "[3]")),
    "shuffle(1,3,2)": Parameter(("1", "3", "2")),
    "sort(3,1,2)": Parameter(("1", "2", "3")),
    "range(1,5)": Parameter((), 1, 4, 1),
    "range(1,10,4)": Parameter((), 1, 9, 4),
    "range(9,0,-4)": Parameter((), 1, 9, 4),
    "shuffle(range(1,5))": Parameter((), 1, 4, 1),
    "range(0.25,1,0.25)": Parameter((), 0.25, 0.75, 0.25),
    "tag(log,range(1,5))": Parameter((), 1, 4, 1, True),
    "interval(0,1)": Parameter((), 0.0, 1.0),
    "tag(log, interval(1e-4, 1e-2))": Parameter((), 1e-4, 1e-2, None, True),
    "int(interval(1,8))": Parameter((), 1, 8, 1),
    "int(tag(log,interval(8,512)))": Parameter((), 8, 512, 1, True),
    "tag(log,int(interval(8,512)))": Parameter((), 8, 512, 1, True),
}

REFUSED = {
    "a=1": "there is nothing to search",
    "experiment=lion a=1,2": "an experiment states its own arms and grid",
    "experiment=lion,tiger a=1,2": "an experiment states its own arms and grid",
    "a=interval(1,1)": "the interval is empty",
    "a=interval(2,1)": "the interval is empty",
    "a=tag(log,interval(0,1))": "a log scale has no 0",
    "a=tag(log,range(0,5))": "steps of 1 from above 0",
    "a=tag(log,range(1,9,2))": "steps of 1 from above 0",
    "a=range(5,5)": "the range is empty",
    "a=tag(log,choice(1,2))": "choices have no log scale",
    "a=tag(lg,interval(1,2))": "the tag lg means nothing; log does",
    "a=interval(1)": "interval",
    "a=interval(x,y)": "interval",
    "a=interval(1,2": "do not match",
    "a=1,2 a=3": "a is searched, too",
    "a=1,2 a=3,4": "a is searched twice",
    "seed=0,1": "-m seed=0,1,2",
    "threads=1,2": "threads changes no result",
    "out=a,b": "out changes no result",
    "trainer.checkpoint_seconds=1,2": "trainer.checkpoint_seconds changes no result",
}


@pytest.mark.parametrize("text", SYNTAX)
def test_every_syntax(text: str) -> None:
    search = parse(["model.dim=8", f"a.b={text}", "~c"])
    assert search.fixed == ("model.dim=8", "~c")
    assert search.space == {"a.b": SYNTAX[text]}
    # What is drawn, written and read again, is one of the values.
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(5):
        (value,) = study.ask({"x": SYNTAX[text].distribution()}).params.values()
        *_, written = search.overrides({"a.b": value})
        assert written.startswith("a.b=")
        parsed = parse([written, "z=1,2"]).fixed
        assert parsed == (written,)
        if not SYNTAX[text].choices:
            assert float(written[4:]) == pytest.approx(value, abs=1e-12)
            assert SYNTAX[text].low <= value <= SYNTAX[text].high


@pytest.mark.parametrize("line", REFUSED)
def test_what_means_nothing_is_one_line(line: str) -> None:
    with pytest.raises(UserError, match=REFUSED[line].replace("(", r"\(")) as caught:
        parse(line.split())
    assert "\n" not in str(caught.value)


def test_distributions() -> None:
    kinds = distributions
    assert Parameter(("a",)).distribution() == kinds.CategoricalDistribution(("a",))
    assert Parameter((), 1, 9, 4).distribution() == kinds.IntDistribution(1, 9, False, 4)
    assert Parameter((), 1, 9, 1, True).distribution() == kinds.IntDistribution(1, 9, True)
    assert Parameter((), 0.0, 1.0).distribution() == kinds.FloatDistribution(0.0, 1.0)
    quarter = kinds.FloatDistribution(0.25, 0.75, step=0.25)
    assert Parameter((), 0.25, 0.75, 0.25).distribution() == quarter


def test_a_grid_has_every_point_once() -> None:
    search = parse(["a=x,y", "b=range(1,6,2)", "c=range(0.1,0.4,0.1)"])
    points = [search.overrides(point) for point in search.grid()]
    assert len(points) == len({*points}) == 18
    assert points[0] == ("a=x", "b=1", "c=0.1")
    assert points[-1] == ("a=y", "b=5", "c=0.3")
    with pytest.raises(UserError, match="sampler=grid: c may be any number between 0 and 1"):
        next(parse(["a=x,y", "c=interval(0,1)"]).grid())


def test_the_name_depends_on_what_is_searched_alone() -> None:
    def name(*arguments: str, metric: str = "val/loss") -> str:
        return parse(arguments).name(metric=metric, direction="minimize")

    same = name("optimizer.lr=interval(0,1)", "attention=a,b", "model.dim=8")
    assert same.startswith("lr-attention-")
    assert (
        same.rpartition("-")[2]
        == name(
            *("model.dim=8", "attention=a,b", "optimizer.lr=interval(0,1)", "out=elsewhere"),
            *("threads=2", "on_error=stop", "logger=csv"),
        ).rpartition("-")[2]
    )
    others = [
        name("optimizer.lr=interval(0,2)", "attention=a,b", "model.dim=8"),
        name("optimizer.lr=interval(0,1)", "attention=a,b", "model.dim=9"),
        name("optimizer.lr=interval(0,1)", "attention=a,b", "model.dim=8", "scale=smoke"),
        name("optimizer.lr=interval(0,1)", "attention=a,b", "model.dim=8", metric="test/loss"),
    ]
    assert len({same, *others}) == 5


def test_a_misspelt_choice_is_found_before_anything_runs() -> None:
    with pytest.raises(UserError, match="did you mean attention=performer"):
        parse(["attention=choice(softmax,perfomer)"]).check()
    with pytest.raises(UserError, match=r"model\.num_layers"):  # 1.0 is no number of layers
        parse(["model.num_layers=interval(1,4)"]).check()
    # One of the choices does not go with the rest; the trial that meets it will say so.
    config = parse(["attention=choice(performer,softmax)", "position=alibi"]).check()
    assert config["attention"]["_target_"].endswith("Softmax")
