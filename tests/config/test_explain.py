"""Hydra's and OmegaConf's exceptions, each as one line without the advice to append."""

from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

from suexp.config.catalogue import Catalogue
from suexp.config.compose import resolve
from suexp.config.explain import explain
from suexp.errors import UserError
from suexp.near import near, nearest
from tests.cli.tree import write_tree

COMPOSING = {
    "attention=perfomer": "attention=perfomer: no such option; did you mean attention=performer?",
    "atention=performer": "atention=performer: no such group; did you mean attention=performer?",
    "optimizer=": "optimizer=: names no option; choose from adamw, lion",
    "optimizer.lrr=1": "optimizer.lrr: no such key; did you mean optimizer.lr?",
    "optimizer.momentum_dtype=x": (
        "optimizer.momentum_dtype: the chosen optimizer has no such key; "
        "it is one of optimizer=lion"
    ),
    "optimizr.lr=1": "optimizr.lr: there is no optimizr; did you mean optimizer.lr?",
    "optimizer={lrr:1}": "optimizer.lrr: no such key; did you mean optimizer.lr?",
    "extra=4": "extra=4: only experiment=performer has this key; choose it too",
    "experiment=lion arms.lio=[x]": "arms.lio: no such key; did you mean arms.lion?",
    "attention=softmax,performer": (
        "attention=softmax,performer: several values are a sweep; add -m to run each"
    ),
    "optimizer.betas=0.9,0.99": (
        "optimizer.betas=0.9,0.99: several values are a sweep; add -m to run each, "
        "or write the list optimizer.betas=[0.9,0.99]"
    ),
    "seed=range(3)": "seed=range(3): several values are a sweep; add -m to run each",
    "optimizer=lion,": "optimizer=lion,: a value is missing at a comma; write optimizer=lion",
    "optimizer.lr=1,,2": (
        "optimizer.lr=1,,2: a value is missing at a comma; write optimizer.lr=1,2"
    ),
    "optimizer": "optimizer: an override is written key=value",
    "optimizer==lion": "optimizer==lion: one = is enough; write optimizer=lion",
    "optimizer.lr=[1,2": "optimizer.lr=[1,2: [ and ] do not match",
    "optimizer.lr='a": "optimizer.lr='a: a quote ' is not closed",
    "optimizer.betas=(1,2)": (
        "optimizer.betas=(1,2): a list is written with brackets; write optimizer.betas=[1,2]"
    ),
    "optimizer.betas[0]=1": (
        "optimizer.betas[0]=1: 'optimizer.betas[0]' is not a key; "
        "a list is set as a whole, key=[1,2]"
    ),
    "+attention=performer": "+attention: a choice is made there already; leave out the +",
    "++attention=performer": "++attention=performer: write attention=performer",
    "+optimizer.lr=1": "+optimizer.lr=1: optimizer.lr exists already; write optimizer.lr=1",
    "optimizer@mine=lion": "optimizer@mine: nothing is chosen there; write optimizer=lion",
    "~atention": "~atention: no such group; did you mean attention?",
    "~optimizer.lrr": "~optimizer.lrr: no such key; did you mean optimizer.lr?",
    "~optimizer.lr=3": "~optimizer.lr=3: its value is 0.001; write ~optimizer.lr",
    "attention=null": "null is not an option; to choose nothing write ~group",
    "attention=3": "a group's choice is the name of one of its options",
    "experiment=lin": "experiment=lin: no such option; did you mean experiment=lion?",
    "hydra.mode=MULTIRU": (
        "hydra.mode=MULTIRU: Invalid value 'MULTIRU', expected one of [RUN, MULTIRUN]"
    ),
    "hydra.mod=RUN": "hydra.mod: no such key; did you mean hydra.mode?",
    "hydra.job.nam=x": "hydra.job.nam: no such key; did you mean hydra.job.name?",
    "hydra/launche=x": "hydra/launche: no such group; did you mean hydra/launcher?",
    "hydra/launcher=basi": (
        "hydra/launcher=basi: no such option; did you mean hydra/launcher=basic?"
    ),
}

RESOLVING = {
    "optimizer.lr=${foo}": "optimizer.lr refers to foo, which this config lacks",
    "optimizer.lr=${oc.env:NOPE}": "optimizer.lr: ${oc.env:NOPE}: a run's config does not read "
    "the environment; type the value",
    "optimizer.lr=${nope:1}": "optimizer.lr: Unsupported interpolation type nope",
    "~data": "position.max_length refers to data.block_size, which this config lacks",
}


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("tree"))


def failure(conf: Path, overrides: list[str], mode: RunMode = RunMode.RUN) -> BaseException:
    with initialize_config_dir(str(conf), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        try:
            cfg = loader.load_configuration("config", overrides, run_mode=mode)
            with open_dict(cfg):
                del cfg["hydra"]
            OmegaConf.to_container(cfg, resolve=True)
        except Exception as error:
            return error
    raise AssertionError(f"{overrides} composes")


@pytest.mark.parametrize("line", COMPOSING)
def test_composing(line: str, conf: Path) -> None:
    overrides = line.split()
    assert explain(failure(conf, overrides), conf, overrides) == COMPOSING[line]


@pytest.mark.parametrize("override", RESOLVING)
def test_resolving(override: str, conf: Path) -> None:
    overrides = ["position=learned", override]
    assert explain(failure(conf, overrides), Catalogue(base=conf)) == RESOLVING[override]


def test_hydras_own_settings_cannot_be_swept(conf: Path) -> None:
    error = failure(conf, ["hydra.verbose=true,false"], RunMode.MULTIRUN)
    assert explain(error, conf) == (
        "hydra.verbose=true,false: Hydra's own settings cannot be swept; give one value"
    )


def test_a_mistake_inside_an_experiment_names_its_file(conf: Path, tmp_path: Path) -> None:
    copy = write_tree(tmp_path)
    file = copy / "experiment" / "lion.yaml"
    text = file.read_text()
    file.write_text(text.replace("/optimizer: adamw", "/optimizer: adam_w2"))
    error = failure(copy, ["experiment=lion"])
    assert explain(error, copy).endswith(
        "optimizer=adam_w2: no such option; did you mean optimizer=adamw?"
    )
    file.write_text(text.replace("override /optimizer:", "override /optimizr:"))
    error = failure(copy, ["experiment=lion"])
    assert explain(error, copy).startswith("experiment/lion.yaml: optimizr: no such group")


def test_an_own_message_is_kept(conf: Path) -> None:
    OmegaConf.register_new_resolver("refuse", _refuse, replace=True)
    error = failure(conf, ["optimizer.lr=${refuse:}"])
    assert explain(error, conf) == "not like this"


def _refuse() -> None:
    raise UserError("not like this")


def test_an_unknown_exception_is_its_first_line(conf: Path) -> None:
    assert explain(ValueError("first\nsecond"), conf) == "first"
    assert explain(ValueError(), conf) == "ValueError"


def test_nearest() -> None:
    known = ["num_heads", "dim", "lr", "weight_decay"]
    assert nearest("num-Heads", known) == "num_heads"
    assert nearest("n_heads", known) == "num_heads"
    assert nearest("d_model", known) == "dim"
    assert nearest("wd", known) == "weight_decay"
    assert nearest("weigth_decay", known) == "weight_decay"
    assert nearest("qqq", known) is None
    assert near("qqq", known) == "; choose from num_heads, dim, lr, weight_decay"
    assert near("dimm", known) == "; did you mean dim?"
    assert near("x", []) == "; there is nothing to choose from"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ("task=masked_lm", "task.sample_tokens=0"),
            "task.sample_tokens: the chosen task has no such key; it is one of task=causal_lm",
        ),
        (
            ("callbacks.lengths.windows=3",),
            "callbacks.lengths.windows: the chosen callback has no such key; "
            "it is one of callback=lengths",
        ),
        (
            ("sizes.steps=3",),
            "sizes.steps=3: only experiment=adversarial_training has this key; choose it too",
        ),
    ],
)
def test_a_key_is_an_option_s_before_it_is_an_experiment_s(
    overrides: tuple[str, ...], line: str
) -> None:
    """Experiments set the keys of options that they choose."""
    with pytest.raises(UserError) as error:
        resolve(overrides)
    assert str(error.value) == line
