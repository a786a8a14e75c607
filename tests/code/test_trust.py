"""Which classes a config may name, and by whose word."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from suexp.cli import rerunning
from suexp.cli.application import hydra_main
from suexp.code.instantiate import instantiate
from suexp.code.trust import OTHERS, check_targets, trusting
from suexp.config.compose import compose, resolve
from suexp.errors import UserError
from suexp.experiment.plan import plan
from suexp.folders import conf_dir
from suexp.job.run import execute
from suexp.launch import child
from suexp.launch.saved_config import save
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.store.spec import RunSpec
from tests.support.tiny import TINY, tiny

SHORT = ("trainer.max_steps=2", "trainer.val_check_interval=2")
STRANGE = [
    "os.system",
    "builtins.eval",
    "subprocess.Popen",
    "torch.load",
    "torch.nn.Linear",
    "functools.partial",
    "hydra.utils.get_method",
    "hydra.utils.instantiate",
    "pytorch_lightning.Trainer.save_checkpoint",
    "suexp.cli.main",
    "suexp.launch.processes.os.system",
    "suexp.store.folder.write_atomic",
    "suexp.data.images.Path",
    "suexp.data.cache.cached",
    "suexp.logger.wandb.WandbLogger",
    "suexp.data.files.Files.documents",
    "suexp.attention",
    "suexp",
    "suexpert.attention.softmax.Softmax",
    "suexp./etc.x.Y",
    "${oc.env:HOME}",
    "",
    3,
]


@pytest.mark.parametrize("target", STRANGE)
def test_foreign_code_is_refused_in_one_line(target: Any) -> None:
    for node in (
        {"_target_": target},
        {"_target_": "suexp.model.transformer.Transformer", "attention": {"_target_": target}},
        {"_target_": "pytorch_lightning.Trainer", "_args_": [[{"deep": [{"_target_": target}]}]]},
        {"_target_": "suexp.norm.layer.Layer", "_partial_": True, "dim": {"_target_": target}},
    ):
        with pytest.raises(UserError) as caught:
            instantiate(node)
        assert "_target_" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_what_conf_names_is_allowed_and_nothing_else_of_other_packages() -> None:
    text = "\n".join(path.read_text("utf-8") for path in conf_dir().rglob("*.yaml"))
    named = set(re.findall(r"_target_\s*[:=]\s*([\w.]+)", text))
    assert len(named) > 100
    for target in named:
        check_targets({"_target_": target}, ())
    groups = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    assert {name for name in named if name.split(".")[1] not in groups} == OTHERS
    assert {name for name in named if not name.startswith("suexp.")} <= OTHERS


def test_an_interpolation_that_is_left_over_is_refused() -> None:
    node = {"_target_": "suexp.norm.layer.Layer", "dim": "${oc.create:{_target_:os.system}}"}
    with pytest.raises(UserError, match=r"^dim: .* is not resolved"):
        instantiate(node)


def test_an_allowed_package_lends_its_name_to_no_other() -> None:
    node = {"_target_": "wave.builtins.open", "file": "x"}
    with pytest.raises(UserError, match=r"wave\.builtins\.open is io's"):
        instantiate(node, ["wave"])
    with pytest.raises(UserError, match="cannot be imported"):
        instantiate({"_target_": "wave.Nothing"}, ["wave"])
    assert instantiate({"_target_": "datetime.date", "year": 1, "month": 1, "day": 2}, ["datetime"])


# An experiment that is right as it stands.
WHOLE = "# @package _global_\npost: {slug: bold, title: Bold}\nseeds: [0]\narms: {a: {}}\n"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of the user's own, and a folder of options beside it."""
    (tmp_path / "my_parts.py").write_text(
        "from suexp.attention.softmax import Softmax\n\n\nclass Mine(Softmax):\n    pass\n"
    )
    files = {
        "attention/mine": "_target_: my_parts.Mine\ndropout: 0.0\nscale: null\nkernel: sdpa\n",
        "attention/forward": "_target_: my_parts.Mine\ndropout: 0.0\nscale: null\nkernel: sdpa\n",
        "experiment/bold": WHOLE + "allow_targets: [my_parts]\n",
        "experiment/armed": "# @package _global_\npost: {slug: armed, title: Armed}\nseeds: [0]\n"
        "arms: {a: {+attention: mine, allow_targets: my_parts}}\n",
        "experiment/called": WHOLE + "hydra: {callbacks: {x: {_target_: my_parts.M}}}\n",
        "experiment/logged": WHOLE + "hydra: {job_logging: {handlers: {x: {(): my_parts.M}}}}\n",
        "experiment/launched": WHOLE + "hydra: {launcher: {init: {x: {_target_: my_parts.M}}}}\n",
        "experiment/surrounded": WHOLE + "hydra: {job: {env_set: {PYTHONPATH: /tmp}}}\n",
    }
    for name, text in files.items():
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "conf"
    sys.modules.pop("my_parts", None)


def test_only_the_user_s_own_word_allows(mine: Path) -> None:
    folder = str(mine)
    for overrides, message in (
        (["attention=mine"], r"^attention\._target_: my_parts\.Mine .*allow_targets=\[my_parts\]"),
        (["attention=mine", "allow_targets=[my_part]"], "no component of suexp's"),
        (["attention=mine", "+experiment=bold"], "stands in a file, where it does not count"),
        (["parent='allow_targets=my_parts'", "attention=mine"], "no component of suexp's"),
        (["parent='attention=mine allow_targets=my_parts'"], "parent: .* does not count there"),
        (["parent='attention=mine'"], "no component of suexp's"),
        (["allow_targets=[a-b]"], "a-b is no package"),
    ):
        overrides = [item.replace("+experiment", "experiment") for item in overrides]
        with pytest.raises(UserError, match=message):
            resolve(overrides, folder)
    assert "my_parts" not in sys.modules  # nothing was imported to find that out
    with pytest.raises(UserError, match="stands in a file"):
        compose(["experiment=bold"], folder)
    own = resolve(["attention=mine", "allow_targets=my_parts", "parent='seed=1'"], folder).config
    assert own["allow_targets"] == own["parent"]["allow_targets"] == ["my_parts"]


def test_arms_do_not_allow(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suexp.config.hydra_internals import loader

    with (
        loader(str(mine)),
        pytest.raises(UserError, match=r"experiment=armed: allow_targets=my_parts does not count"),
    ):
        plan(["experiment=armed"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("called", r"^hydra\.callbacks\.x\._target_: what a file says to Hydra does not count"),
        ("logged", r"^hydra\.job_logging\.handlers\.x\.\(\): what a file says"),
        ("launched", r"^hydra\.launcher\.init\.x\._target_: what a file says"),
        ("surrounded", r"^hydra\.job\.env_set\.PYTHONPATH: what a file says"),
    ],
)
def test_hydra_s_own_node_chooses_no_code(
    mine: Path, name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["suexp"])
    with pytest.raises(UserError, match=message):
        hydra_main(["--config-dir", str(mine), f"experiment={name}", "hydra/launcher=ray"])
    assert "my_parts" not in sys.modules


def test_what_the_user_allows_reaches_the_run_but_not_its_readers(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = tiny(tmp_path / "out", *SHORT, "attention=mine", "allow_targets=[my_parts]")
    config = spec_of(overrides, str(mine))
    run = Run(config)
    assert run.id == Run(RunSpec.of({**config.config, "allow_targets": ["my_parts", "others"]})).id
    saved = save(config)
    assert saved.command[-2:] == [str(saved.path), "my_parts"]
    assert child.main([str(saved.path)]) == 2  # the file says so, but nobody else
    assert "attention._target_: my_parts.Mine" in capsys.readouterr().err
    assert saved() == 0
    assert run.finished

    assert rerunning.allowing("allow_targets=[a, b.c]") == ["a", "b.c"]
    for word in (None, "allow_targets=[]"):
        with pytest.raises(UserError, match=r"_target_: my_parts\.Mine"):
            rerunning.run([str(run.folder), *([word] if word else [])])
    with pytest.raises(UserError, match=r"only allow_targets"):
        rerunning.run([str(run.folder), "seed=3"])
    capsys.readouterr()
    assert rerunning.run([str(run.folder), "allow_targets=my_parts"]) == 0
    assert "bit for bit" in capsys.readouterr().out


def test_a_stranger_s_folder_is_refused_whole(tmp_path: Path) -> None:
    config = resolve([*TINY, f"out={tmp_path}"]).config
    strange = {"_target_": "os.system", "command": f"touch {tmp_path}/ran"}
    for key in ("optimizer", "callbacks", "parent"):
        own: dict[str, Any] = yaml.safe_load(yaml.safe_dump(config))
        own["allow_targets"] = ["os"]
        own[key] = {**own, "data": strange} if key == "parent" else {"x": strange}
        with pytest.raises(UserError, match="no component of suexp's"):
            execute(RunSpec.of(trusting(own, [])))
    assert not list(tmp_path.iterdir())
