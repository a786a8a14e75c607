"""Keys of the environment and passwords reach no file of a run, and no screen."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hydra_plugins.suexp_launcher.local_launcher import LocalLauncher
from suexp import cli
from suexp.config.compose import resolve
from suexp.config.hydra_internals import loader
from suexp.errors import UserError
from suexp.experiment.conduct import conduct
from suexp.experiment.plan import plan
from suexp.folders import experiments_dir
from suexp.redaction import redacted, secret_in
from suexp.report.pages import load_results, write_report
from suexp.study import study
from tests.support.tiny import TINY

PLANTED = {
    "WANDB_API_KEY": "planted0wandb0" + "0" * 26,
    "HF_TOKEN": "hf_planted0hub0",
    "AWS_SECRET_ACCESS_KEY": "planted0aws0",
}


@pytest.fixture(autouse=True)
def _plant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)


# An experiment that is right as it stands.
WHOLE = "# @package _global_\npost: {slug: whole, title: Whole}\nseeds: [0]\narms: {a: {}}\n"


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An experiment one of whose arms fails with the keys in its message."""
    (tmp_path / "my_leak.py").write_text(
        "import os\n\nfrom suexp.attention.softmax import Softmax\n\n\n"
        "class Leak(Softmax):\n"
        "    def forward(self, q, *given, **named):\n"
        "        if q.shape[2] != 16:  # no text of the run's\n"
        "            return super().forward(q, *given, **named)\n"
        "        print(os.environ['PATH'][:1])\n"
        "        raise RuntimeError(f'401 of s3://me:{os.environ[\"HF_TOKEN\"]}@host, '\n"
        '            f\'{os.environ["WANDB_API_KEY"]} {os.environ["AWS_SECRET_ACCESS_KEY"]}\')\n'
    )
    folder = tmp_path / "conf"
    files = {
        "attention/leak": "_target_: my_leak.Leak\ndropout: 0.0\nscale: null\nkernel: sdpa\n",
        "experiment/leaky": "# @package _global_\npost: {slug: leaky, title: Leaky}\nseeds: [0]\n"
        "arms: {good: {attention: softmax}, bad: {attention: leak}}\n"
        "claims: {C1: {text: t, test: 'val/loss[good] < val/loss[bad]'}}\n",
        "experiment/reading": WHOLE + "run: {arm: '${oc.env:HF_TOKEN}'}\n",
        "experiment/hidden": f"{WHOLE}word: oc.env\n"
        "run: {arm: '${oc.decode:\"${${word}:HF_TOKEN}\"}'}\n",
    }
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield str(folder)
    sys.modules.pop("my_leak", None)


@pytest.mark.slow
def test_an_experiment_keeps_no_key(
    conf: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    steps = ["trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.log_every_n_steps=1"]
    command = [*TINY, *steps, f"out={out}", "logger=[csv,tensorboard,wandb]"]
    monkeypatch.chdir(tmp_path)
    with loader(conf):
        left = conduct(
            ["experiment=leaky", *command, "allow_targets=my_leak"], LocalLauncher(jobs=0)
        )
    assert left == 1
    shown = "".join(capfd.readouterr())
    assert "401 of s3://<password>@host, <WANDB_API_KEY> <AWS_SECRET_ACCESS_KEY>" in shown
    files = [path for path in out.rglob("*") if path.is_file()]
    for kind in ("*.wandb", "events.out*", "metrics.csv", "report.html", "summary.json"):
        assert any(path.match(kind) for path in files), kind
    for name, value in PLANTED.items():
        assert value not in shown, name
        leaks = [str(path) for path in files if value.encode() in path.read_bytes()]
        assert leaks == [], name
    failed = [path for path in files if b"401 of" in path.read_bytes()]
    assert {"summary.json", "results.json", "report.md"} <= {path.name for path in failed}


def test_a_config_does_not_read_the_environment(conf: str) -> None:
    for name in ("reading", "hidden"):
        with pytest.raises(UserError, match="does not read the environment") as caught:
            resolve([f"experiment={name}"], conf)
        assert PLANTED["HF_TOKEN"] not in str(caught.value)
    from omegaconf import OmegaConf

    assert OmegaConf.create({"x": "${oc.env:HF_TOKEN}"}).x == PLANTED["HF_TOKEN"]  # others' may


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"run.arm={PLANTED['HF_TOKEN']}", "run.arm holds HF_TOKEN"),
        ("+model.note='s3://me:word@host/x'", "model.note holds a password"),
        ("+model.note='https://host/x?token=abcd1234'", "model.note holds a token"),
        ("+model.password=hunter2", "model.password holds a password"),
        (f"+model.words={{{PLANTED['HF_TOKEN']}: 1}}", "model.words.<HF_TOKEN> holds HF_TOKEN"),
        ("+model.note='${hydra:job.env_set}'", "a run's config does not read Hydra's"),
    ],
)
def test_a_typed_key_or_password_is_refused(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve([override])
    assert PLANTED["HF_TOKEN"] not in str(caught.value)


def test_an_experiment_says_no_key_in_words(tmp_path: Path) -> None:
    token = "hf_abcdefghijklmnopQRSTuvwxyz012345AB"
    places = {
        "title": (WHOLE.replace("Whole", token), "post.title"),
        "arm": (WHOLE.replace("a: {}", f"{token}: {{}}"), "arms.<token>"),
        "claim": (
            f"{WHOLE}claims: {{C: {{text: {token}, test: 'val/loss[a] < 1'}}}}\n",
            "claims.C.text",
        ),
        "caption": (
            f"{WHOLE}figures: {{f: {{kind: bar, y: val/loss, caption: {token}}}}}\n",
            "figures.f.caption",
        ),
        "base": (f"{WHOLE}base: {{+model.note: {token}}}\n", "base.0"),
    }
    for name, (text, _) in places.items():
        path = tmp_path / "experiment" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    with loader(str(tmp_path)):
        for name, (_, place) in places.items():
            with pytest.raises(UserError) as caught:
                plan([f"experiment={name}"])
            assert str(caught.value).startswith(f"experiment={name}: {place} holds a token")


def test_a_report_of_others_results_keeps_no_key(tmp_path: Path) -> None:
    token = "hf_abcdefghijklmnopQRSTuvwxyz012345AB"
    results = json.loads((experiments_dir() / "lion" / "results.json").read_text("utf-8"))
    results["post"]["title"] = f"A {token}"
    results["arms"][token] = []
    (tmp_path / "results.json").write_text(json.dumps(results))
    write_report(load_results(tmp_path), tmp_path)
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text("utf-8")
        assert token not in text
        assert "A &lt;token&gt;" in text


def test_a_study_searches_no_key() -> None:
    word = "+model.note=choice('https://host/x?token=abcd1234',b)"
    with pytest.raises(UserError, match=r"^the study's argument 1 holds a token"):
        study.conduct(["seed=0", word], None, None)  # type: ignore[arg-type]


def test_a_fault_of_ours_shows_no_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(argv: list[str]) -> int:
        raise RuntimeError(f"{argv} {PLANTED['HF_TOKEN']}")

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert cli.main([]) == 1
    shown = capsys.readouterr().err
    assert shown.endswith("RuntimeError: [] <HF_TOKEN>\n")
    assert PLANTED["HF_TOKEN"] not in shown


def test_what_counts_as_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKENIZERS_PARALLELISM", "KEYBOARD_LAYOUT", "MONKEY_BUSINESS"):
        monkeypatch.setenv(name, "12345678")
    monkeypatch.setenv("SHORT_KEY", "false")
    assert secret_in("12345678 false https://host/a:b@c") is None
    for name in ("OPENAI_API_KEY", "SECRET", "DB_PASSWORD", "MY_ACCESS_TOKEN", "APIKEY"):
        monkeypatch.setenv(name, "12345678")
        assert secret_in("x12345678y") == name
        assert redacted("x12345678y") == f"x<{name}>y"
        monkeypatch.delenv(name)
    assert redacted("postgresql://me:word@host/x") == "postgresql://<password>@host/x"
    assert secret_in("redis://:word@host") == "a password"
    assert os.environ["HF_TOKEN"] not in str(UserError(f"no {os.environ['HF_TOKEN']}"))
