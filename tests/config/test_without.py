"""That an option takes nothing of a group follows from its YAML, which chooses null there."""

import pytest

from suexp.config.catalogue import Catalogue
from suexp.config.compose import resolve
from suexp.errors import UserError

MLP = ["task=classification", "data=digits", "model=mlp"]


def test_an_option_says_which_groups_play_no_part() -> None:
    catalogue = Catalogue()
    assert catalogue.option("model", "mlp").without == ("attention", "position", "mask")
    assert catalogue.option("model", "tta").without == ()  # it chooses a mask
    assert catalogue.option("model", "transformer").without == ()
    assert "optimizer" in catalogue.option("task", "kernel_estimation").without


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([*MLP, "attention=softmax"], "model=mlp cannot be combined with attention=softmax: it "),
        ([*MLP, "position=none"], "model=mlp cannot be combined with position=none: it takes no "),
        ([*MLP, "mask=causal"], "model=mlp cannot be combined with mask=causal: it takes no mask"),
        (["task=cost", "optimizer=lion"], "task=cost cannot be combined with optimizer=lion: it t"),
        (["task=attention_rank", "norm=rms"], "task=attention_rank cannot be combined with norm=r"),
    ],
)
def test_a_choice_there_is_refused(overrides: list[str], line: str) -> None:
    with pytest.raises(UserError) as raised:
        resolve(overrides)
    assert str(raised.value).startswith(line)
    group = overrides[-1].split("=")[0]
    assert str(raised.value).endswith(f"it takes no {group}; leave that choice out")


def test_a_mask_that_hides_nothing_may_be_chosen() -> None:
    assert resolve([*MLP, "mask=bidirectional"]).choices["mask"] == "bidirectional"


def test_an_experiment_may_choose_what_its_yaml_switched_off() -> None:
    """Only options that name a class take something, or nothing."""
    resolved = resolve(["experiment=points_in_sector"])
    assert resolved.choices["experiment"] == "points_in_sector"
