"""``suexp check`` also looks at what composing does not: own packages and local files."""

from pathlib import Path

import pytest

from suexp.cli import checking
from suexp.errors import UserError


def line(*overrides: str) -> str:
    with pytest.raises(UserError) as raised:
        checking.run(overrides)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_it_says_what_it_did_not_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert checking.run(["trainer.max_steps=3"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "1 run, 3 steps"
    assert out[-2] == "Everything composes and fits together; nothing was run."
    assert " ".join(out[-1:]).startswith("Not checked: what is downloaded (data=hub")


def test_a_callback_that_cannot_measure_is_refused() -> None:
    assert line("callback=chunk_scan") == (
        "callback=chunk_scan needs loss on vectors: it differentiates losses on vectors; use "
        "task=matching"
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=files", "data.train=nowhere.txt"], "data.train: no file nowhere.txt; looked in"),
        (["data=files"], "data.train names no file"),
        (
            ["data=files", "data.train={here}", "data.tokenizer=wordpiece", "data.vocab=v.txt"],
            "data.vocab: no file v.txt",
        ),
        (["data=idx", "data.images=i", "data.labels=l", "task=classification", "model=mlp"], "i;"),
        (
            ["data=table", "data.train=t.csv", "task=classification", "model=linear"],
            "no file t.csv",
        ),
        (
            ["data=images", "data.files=p", "data.pixels=dequantized", "task=autoencoding"],
            "data.files: no file p",
        ),
        (
            ["transform=pretrained", "transform.source=./bert"],
            "transform.source: no file or folder ./bert",
        ),
        (
            ["transform=truncate", "parent=['seed=1']", "transform.source=/no/bert"],
            "transform.source: no file or folder /no/bert",
        ),
    ],
)
def test_files_that_do_not_exist(overrides: list[str], message: str) -> None:
    assert message in line(*(item.format(here=__file__) for item in overrides))


def test_files_that_exist(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("One.\n\nTwo.\n")
    assert checking.run(["data=files", f"data.train={tmp_path}/*.txt"]) == 0
    assert checking.run(["data=hub", "data.name=some/name"]) == 0
    assert checking.run(["transform=pretrained", "transform.source=bert-base"]) == 0


def test_a_parents_file_is_looked_for_too() -> None:
    parent = "parent=['data=files','data.train=nowhere.txt']"
    assert line(parent, "transform=copy").startswith("data.train: no file nowhere.txt")


@pytest.mark.parametrize(
    ("body", "where", "reason"),
    [
        ("import nothing_of_this_name", "._target_", "No module named 'nothing_of_this_name'"),
        ("raise RuntimeError('no GPU')", "", "RuntimeError: no GPU"),
        ("Other = 1", "._target_", "module 'own_"),
    ],
)
def test_an_allowed_package_is_imported(
    body: str, where: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"own_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(f"{body}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = line(f"allow_targets=[{name}]", f"+callbacks.own._target_={name}.Own")
    assert found.startswith(f"callbacks.own{where}: {name}.Own cannot be imported: ")
    assert reason in found


OPTUNA = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2")


def test_a_search_is_checked_as_it_would_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    space = ("optimizer.lr=tag(log, interval(1e-4, 1e-2))", "attention=choice(softmax,performer)")
    assert checking.run([*OPTUNA, *space, "model.num_layers=range(1,6,2)"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "a search of 3 parameters\n"
        "optimizer.lr      0.0001 to 0.01, on a log scale\n"
        "attention         softmax, performer\n"
        "model.num_layers  1 to 5 in steps of 2\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer.lr=tag(log, interval(0, 1e-2))"], "a log scale has no 0; begin above 0"),
        (["optimizer.lr=1e-3"], "there is nothing to search"),
        (["optimizer.rate=interval(0, 1)"], "optimizer.rate"),
    ],
)
def test_a_search_that_cannot_be(words: list[str], message: str) -> None:
    assert message in line(*OPTUNA, *words)
