"""Where options do not fit together, a command that does is told."""

import shlex

import pytest

from suexp.cli import main
from suexp.config.compose import resolve
from suexp.config.remedy import fitting
from suexp.errors import Misfit
from suexp.folders import conf_dir


def misfit(overrides: list[str]) -> Misfit:
    with pytest.raises(Misfit) as raised:
        resolve(overrides)
    return raised.value


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (["data=docstring_topic"], ["task=classification"]),
        (["loss=crf"], ["task=tagging"]),
        (["optimizer=lbfgs"], ["trainer.gradient_clip_val=null"]),
        (["transform=truncate"], ["parent=['seed=1']"]),
        (["model=encoder_decoder"], ["task=seq2seq", "mask=causal"]),
    ],
)
def test_the_fewest_further_choices_are_found(said: list[str], wanted: list[str]) -> None:
    assert fitting(misfit(said), said, seconds=60) == [*said, *wanted]


def test_what_the_user_chose_stays() -> None:
    """Both sides of the misfit are the user's: nothing beside them can mend it."""
    said = ["task=causal_lm", "mask=bidirectional"]
    assert fitting(misfit(said), said, seconds=60) is None


def test_what_most_experiments_choose_comes_first() -> None:
    """Every task that reads text would do; the one of most experiments stands first."""
    said = ["mask=exclude_self"]
    found = fitting(misfit(said), said, seconds=60)
    texts = [path.read_text("utf-8") for path in (conf_dir() / "experiment").glob("*.yaml")]
    uses = {
        task: sum(f"task: {task}" in text for text in texts)
        for task in ("classification", "masked_lm", "matching")
    }
    assert found == [*said, f"task={max(uses, key=lambda task: uses[task])}"]


def test_no_advice_where_a_file_chooses() -> None:
    """An experiment's base may choose what does not fit; more choices would change its arms."""
    error = misfit(["mask=bidirectional"])
    assert fitting(error, ["experiment=lion", "mask=bidirectional"], seconds=60) is None


def test_the_command_line_ends_with_a_command_that_works(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "transform=extend_positions"]) == 2
    line = capsys.readouterr().err.strip()
    told, _, command = line.partition("; this fits: suexp ")
    assert told.startswith("suexp: transform=extend_positions needs parent")
    assert "\n" not in line
    words = shlex.split(command)
    assert words == ["transform=extend_positions", "parent=['seed=1']", "position=learned"]
    assert main(["check", *words]) == 0


def test_a_sweep_is_not_advised(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-m", "data=digits,docstring_topic"]) == 2
    assert "this fits" not in capsys.readouterr().err
