"""Misspellings on a Hydra command line, answered without Hydra."""

import shlex

import pytest

from suexp.cli.argv import precheck, simple_values, split
from suexp.config.catalogue import Catalogue
from suexp.errors import UserError

WRONG = {
    "attention=perfomer": "attention=perfomer: no such option; did you mean attention=performer?",
    "attention=Performer": "attention=Performer: no such option; did you mean attention=performer?",
    "attention=lion": "attention=lion: lion is no attention; did you mean optimizer=lion?",
    "attention=qqq": "attention=qqq: no such option; choose from performer, softmax",
    "-m attention=softmax,perfomer": (
        "attention=perfomer: no such option; did you mean attention=performer?"
    ),
    "atention=performer": "atention=performer: no such group; did you mean attention=performer?",
    "+atention=performer": "+atention=performer: no such group; did you mean attention=performer?",
    "~atention": "~atention: no such group; did you mean attention?",
    "++attention=performer": "++attention=performer: write attention=performer",
    "attention=null": ("attention=null: null is not an option; to choose nothing write ~attention"),
    "transform=null": ("transform=null: null is not an option; to choose nothing write ~transform"),
    "transform=convert": "transform=convert: no such option; there is nothing to choose from",
    "optimizer=": "optimizer=: names no option; choose from adamw, lion",
    "-m optimizer=lion,": ("optimizer=lion,: a value is missing at a comma; write optimizer=lion"),
    "optimizer.lrr=1": "optimizer.lrr: no such key; did you mean optimizer.lr?",
    "optimizer.learning_rate=1": (
        "optimizer.learning_rate: no such key; did you mean optimizer.lr?"
    ),
    "optimizer.qqq=1": "optimizer.qqq: no such key; optimizer has lr, betas, momentum_dtype",
    "optimizr.lr=1": "optimizr.lr: there is no optimizr; did you mean optimizer.lr?",
    "optimizer.block_size=1": (
        "optimizer.block_size: no such key in optimizer; did you mean data.block_size?"
    ),
    "optimizer.lr.x=1": "optimizer.lr.x: optimizer.lr is a single value, not a group of keys",
    "attention.performer=1": (
        "attention.performer: an option is chosen with =; did you mean attention=performer?"
    ),
    "attention/performer=1": (
        "attention/performer: a choice is written with =; did you mean attention=performer?"
    ),
    "optimizer@mine=lio": "optimizer=lio: no such option; did you mean optimizer=lion?",
    "lr=1": "lr=1: no such key; did you mean optimizer.lr=1?",
    "steps=1": "steps=1: no such key; did you mean trainer.max_steps=1?",
    "sed=1": "sed=1: no such key; did you mean seed=1?",
    "qqq=1": (
        "qqq=1: no such group or key; the groups are "
        "attention, data, experiment, optimizer, position, scale, task, trainer"
    ),
    "experiment=lin": "experiment=lin: no such option; did you mean experiment=lion?",
    "experiment=lion arms.lio=[x]": "arms.lio: no such key; did you mean arms.lion?",
    "arms.new=[x]": "arms.new: only experiments have arms; choose one with experiment=...",
    "experiment=lion extra=4": "extra=4: only experiment=performer has this key; choose it too",
    "attention=softmax,performer": (
        "attention=softmax,performer: several values are a sweep; add -m to run each"
    ),
    "optimizer.lr=1e-3,1e-4": (
        "optimizer.lr=1e-3,1e-4: several values are a sweep; add -m to run each, "
        "or write the list optimizer.lr=[1e-3,1e-4]"
    ),
    "optimizer.betas[0]=1": (
        "optimizer.betas[0]=1: 'optimizer.betas[0]' is not a key; "
        "a list is set as a whole, key=[1,2]"
    ),
    "'optimizer.lr = 1'": "optimizer.lr = 1: write key=value without blanks around =",
    "lst": "lst: no such command; did you mean suexp list?",
    "lion": (
        "lion: an override is written key=value; did you mean optimizer=lion or experiment=lion?"
    ),
    "perfomer": ("perfomer: an override is written key=value; did you mean attention=performer?"),
    "attention": ("attention: choose an option, attention=...; suexp list attention shows them"),
    "seed": "seed: an override is written key=value, seed=...",
    "zzzz": (
        "zzzz: neither a command (list, show, check, report, runs, diff, rerun, new) nor an "
        "override key=value"
    ),
    "--multirn": "--multirn: no such flag; did you mean --multirun?",
    "--cfg jbo": "--cfg jbo: no such choice; did you mean job?",
    "--config-dir": "--config-dir: a value is missing",
}

RIGHT = [
    "",
    "seed=1",
    "attention=performer optimizer=lion",
    "-m attention=softmax,performer seed=0,1",
    "--multirun attention=glob(*)",
    "attention=glob(*)",
    "attention=[softmax]",
    "'attention=\"softmax\"'",
    "~attention",
    "~optimizer.lr",
    "~attention=softmax",
    "+optimizer.new=1",
    "++optimizer.lr=1",
    "+mine=3",
    "task.num_points=[3,4]",
    "optimizer.betas.0=0.5",
    "optimizer.momentum_dtype.anything=1",
    "hydra.mode=MULTIRUN optimizer.lr=1,2",
    "hydra/launcher=local hydra.launcher.jobs=2",
    "optimizer@mine=lion",
    "parent=['optimizer=lion','seed=2']",
    'parent="optimizer=lion seed=2"',
    "experiment=lion optimizer.lr=1e-3,1e-4",
    "experiment=lion,performer",
    "experiment=lion arms.lion={optimizer:lion}",
    "experiment=lion callbacks.noise.every=2",
    "experiment=performer extra=4",
    "scale=smoke trainer.limit=3",
    "trainer=long trainer.max_steps=5",
    "attention.num_features=3",
    "position.max_length=3",
    "run.arm=x",
    "-cd . seed=1",
    "--cfg=job --resolve",
    "-c job -p optimizer",
    "--info",
    "--info defaults-tree seed=1",
    "--multi seed=1,2",
]


@pytest.mark.parametrize("line", WRONG)
def test_a_mistake_gets_one_line(line: str, small: Catalogue) -> None:
    with pytest.raises(UserError) as raised:
        precheck(split(shlex.split(line)), small)
    assert str(raised.value) == WRONG[line]


@pytest.mark.parametrize("line", RIGHT)
def test_what_may_be_right_passes(line: str, small: Catalogue) -> None:
    precheck(split(shlex.split(line)), small)


def test_never_advises_to_append(small: Catalogue) -> None:
    for line in WRONG:
        if not line.startswith(("+", "++")):
            with pytest.raises(UserError) as raised:
                precheck(split(shlex.split(line)), small)
            assert "+" not in str(raised.value)


def test_flags_are_read_as_hydra_reads_them() -> None:
    line = split(["-m", "--config-dir=mine", "seed=1", "-c", "job", "--", "-x"])
    assert line.flags == {"--multirun": "", "--config-dir": "mine", "--cfg": "job"}
    assert line.overrides == ["seed=1", "-x"]
    assert line.config_dir == "mine"
    assert split(["-cdmine"]).config_dir == "mine"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("1e-3, 2", ["1e-3", "2"]),
        ("[a,b]", []),
        ("[a,b],c", []),
        ("'a,b'", []),
        ("choice(a,b)", []),
        ("", [""]),
        ("a,", ["a", ""]),
    ],
)
def test_simple_values(value: str, expected: list[str]) -> None:
    assert list(simple_values(value)) == expected


def test_options_of_ones_own_are_known(small: Catalogue, tmp_path, tree) -> None:
    mine = tmp_path / "mine" / "attention"
    mine.mkdir(parents=True)
    (mine / "cosine.yaml").write_text("_target_: mine.Cosine\ntemperature: 1.0\n")
    catalogue = Catalogue(tmp_path / "mine", base=tree)
    precheck(split(["attention=cosine", "attention.temperature=2"]), catalogue)
    with pytest.raises(UserError, match=r"did you mean attention\.temperature"):
        precheck(split(["attention=cosine", "attention.temprature=2"]), catalogue)
    with pytest.raises(UserError, match="no such folder"):
        Catalogue(tmp_path / "nowhere", base=tree)
