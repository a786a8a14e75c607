"""What files may say: how a run is made, not whose code it is, nor where anything is written."""

import copy
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from suexp.cli.application import hydra_main
from suexp.config.compose import resolve
from suexp.config.hydra_internals import loader
from suexp.config.hydra_node import check_hydra
from suexp.errors import UserError
from suexp.experiment.plan import plan

WHOLE = "# @package _global_\npost: {slug: x, title: X}\nseeds: [0]\n"


@pytest.fixture
def write(in_tmp: Path) -> Callable[..., str]:
    """Write options of the user's own; return their folder."""

    def write(**files: str) -> str:
        for name, text in files.items():
            path = in_tmp / "conf" / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(in_tmp / "conf")

    return write


@functools.cache
def composed(typed: str) -> DictConfig:
    with loader() as found:
        config: DictConfig = found.load_configuration("config", [typed], RunMode.RUN)
    return config


SETUP = "launcher: {parameters: {slurm_setup: [touch sprung]}}"
HOOK = "launcher: {init: {runtime_env: {worker_process_setup_hook: my.function}}}"
STREAM = "{handlers: {x: {stream: 'ext://my.stream'}}}"


@pytest.mark.parametrize(
    ("node", "typed", "told"),
    [
        (SETUP, "hydra/launcher=submitit_local", '+hydra.launcher.parameters.slurm_setup=["touch '),
        (HOOK, "hydra/launcher=ray", "+hydra.launcher.init.runtime_env.worker_process_setup_hook="),
        (f"hydra_logging: {STREAM}", "seed=0", '.handlers.x.stream="ext://my.stream"'),
        (f"job_logging: {STREAM}", "seed=0", '.handlers.x.stream="ext://my.stream"'),
        ("callbacks: {x: {_target_: my.Class}}", "seed=0", "hydra.callbacks.x._target_=my.Class"),
        ("job: {env_set: {PYTHONPATH: /tmp}}", "seed=0", "+hydra.job.env_set.PYTHONPATH=/tmp"),
        ("job: {env_copy: [HF_TOKEN]}", "seed=0", "hydra.job.env_"),
        ("run: {dir: /tmp/x}", "seed=0", "hydra.run.dir=/tmp/x"),
        ("sweep: {dir: /tmp/x}", "seed=0", "hydra.sweep.dir=/tmp/x"),
        ("output_subdir: .hydra", "seed=0", "hydra.output_subdir=.hydra"),
        ("searchpath: ['file:///tmp']", "seed=0", 'hydra.searchpath=["file:///tmp"]'),
        ("sweeper: {storage: 'sqlite:////tmp/x'}", "hydra/sweeper=optuna", ".storage="),
        # As if the user had typed it.
        ("overrides: {task: ['allow_targets=[os]']}", "seed=0", "hydra.overrides.task="),
        ("overrides: {hydra: ['hydra.job.chdir=true']}", "seed=0", "hydra.overrides.hydra="),
    ],
)
def test_what_a_file_says_to_hydra_does_not_count(node: str, typed: str, told: str) -> None:
    config = copy.deepcopy(composed(typed))
    check_hydra(config, [typed])
    with open_dict(config):
        config.hydra.merge_with(OmegaConf.create(f"{{{node}}}"))
    with pytest.raises(UserError) as caught:
        check_hydra(config, [typed])
    line = str(caught.value)
    assert "what a file says to Hydra does not count; if you trust it, type it yourself: " in line
    assert told in line
    assert "\n" not in line


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # Hydra names the file that it overrides
def test_no_way_around(write: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(
        optimizer__sly="# @package hydra.launcher\nparameters: {slurm_setup: [touch sprung]}\n",
        hydra__launcher__mine="defaults: [submitit_local, _self_]\ncpus: 2\n",
    )

    def told(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["suexp"])
        with pytest.raises(UserError) as caught:
            hydra_main(["--config-dir", folder, *words])
        return str(caught.value)

    line = told("optimizer=sly", "hydra/launcher=submitit_local")
    assert line.startswith("hydra.launcher.parameters.slurm_setup: what a file says to Hydra")
    line = told("hydra/launcher=mine")
    assert line.startswith("hydra/launcher=mine: an option of Hydra's that stands in a file does n")
    # One that bears the name of the usual one.
    write(hydra__launcher__local="_target_: hydra_plugins.suexp_launcher.Other\n")
    assert told("seed=0").startswith("hydra.launcher._target_: what a file says to Hydra")


@pytest.mark.slow
def test_harmless_words_and_the_user_s_own_count(write: Callable[..., str]) -> None:
    folder = write(
        scale__mine="# @package _global_\n"
        "hydra: {mode: MULTIRUN, launcher: {jobs: 3}, sweeper: {n_trials: 7}}\n",
        scale__set=f"# @package _global_\nhydra: {{{SETUP}}}\n",
    )
    typed = ("hydra/sweeper=optuna", "hydra.launcher.jobs=2", "+hydra.job.env_set.A=b")
    with loader(folder) as found:
        words = ["scale=mine", *typed]
        config = found.load_configuration("config", words, RunMode.MULTIRUN)
        check_hydra(config, words)
        assert config.hydra.launcher.jobs == 2
        assert config.hydra.sweeper.n_trials == 7
        # What is refused works once it is typed.
        words = ["scale=set", "hydra/launcher=submitit_local"]
        own = '+hydra.launcher.parameters.slurm_setup=["touch sprung"]'
        config = found.load_configuration("config", words, RunMode.RUN)
        with pytest.raises(UserError, match="type it yourself") as caught:
            check_hydra(config, words)
        assert str(caught.value).endswith(f"yourself: '{own}'")
        words += [own.replace("+", "++")]
        check_hydra(found.load_configuration("config", words, RunMode.RUN), words)


@pytest.mark.parametrize("out", ["/tmp/elsewhere", "../x", "a/../../x", "link/x"])
def test_a_file_writes_below_the_current_directory(
    write: Callable[..., str], in_tmp: Path, out: str
) -> None:
    (in_tmp / "link").symlink_to(in_tmp.parent)
    folder = write(experiment__mine=f"{WHOLE}arms: {{a: {{}}}}\nout: {out}\n")
    with pytest.raises(UserError, match=r"^out: .* type it yourself: out=") as caught:
        resolve(["experiment=mine"], folder)
    own = str(caught.value).rpartition(" ")[2]
    assert resolve(["experiment=mine", own], folder).config["out"] == out


def test_a_file_names_a_folder_below(write: Callable[..., str], in_tmp: Path) -> None:
    folder = write(experiment__mine=f"{WHOLE}arms: {{a: {{}}}}\nout: mine/deep\n")
    assert resolve(["experiment=mine"], folder).config["out"] == "mine/deep"
    (in_tmp / "outputs").symlink_to(in_tmp.parent)  # of the user's own, to a larger disk
    assert resolve(["seed=0"]).config["out"] == "outputs"
    with pytest.raises(UserError, match=r"^out: null is not a string"):
        resolve(["out=null"])


@pytest.mark.slow
def test_neither_arms_nor_parents_of_a_file_say_what_the_user_types(
    write: Callable[..., str],
) -> None:
    arms = {
        "straight": "{a: {out: /tmp/x}}",
        "from": "{a: {from: {out: /tmp/x}}}",
        "deep": "{a: {from: {from: {study.storage: 'sqlite:///x'}}}}",
        "hydra": "{a: {hydra.run.dir: /tmp/x}}",
        "launcher": "{a: {hydra/launcher: ray}}",
    }
    files = {f"experiment__{name}": f"{WHOLE}arms: {text}\n" for name, text in arms.items()}
    folder = write(
        **files,
        experiment__parent=f"{WHOLE}arms: {{a: {{}}}}\nparent: out=/tmp/x\n",
        experiment__study=f"{WHOLE}arms: {{a: {{}}}}\nstudy: {{storage: 'sqlite:////x'}}\n",
    )
    with loader(folder):
        for name in arms:
            with pytest.raises(UserError, match=f"^experiment={name}: .* does not count there"):
                plan([f"experiment={name}"])
    with pytest.raises(UserError, match=r"^parent: out=/tmp/x does not count there"):
        resolve(["experiment=parent"], folder)
    with pytest.raises(UserError, match=r"^study: stands in a file"):
        resolve(["experiment=study"], folder)
    own = resolve(["parent='out=/tmp/x seed=3'"]).config
    assert own["parent"]["out"] == "/tmp/x"


@pytest.mark.parametrize("said", ["mode: online", "entity: their_team"])
def test_a_file_does_not_say_where_numbers_are_sent(write: Callable[..., str], said: str) -> None:
    key, value = said.split(": ")
    folder = write(logger__theirs=f"defaults: [wandb, _self_]\nwandb: {{{said}}}\n")
    place = f"logger.wandb.{key}"
    with pytest.raises(UserError, match=f"^{place}: {value} stands in a file, .*{place}={value}$"):
        resolve(["logger=theirs"], folder)
    for typed in (f"{place}={value}", f"{place}=null" if key == "entity" else f"{place}=offline"):
        resolve(["logger=theirs", typed], folder)
    resolve(["logger=wandb", f"{place}={value}"])


def test_an_experiment_does_not_say_where_numbers_are_sent(write: Callable[..., str]) -> None:
    arms = "arms: {a: {logger: wandb, logger.wandb.mode: online}}\n"
    folder = write(experiment__sent=WHOLE + arms)
    with loader(folder), pytest.raises(UserError, match=r"logger\.wandb\.mode=online does not"):
        plan(["experiment=sent"])
