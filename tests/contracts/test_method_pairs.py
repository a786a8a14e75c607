"""Two methods together: they train, or are refused before a step is taken."""

import itertools
from pathlib import Path

import pytest

from suexp.config.catalogue import Catalogue
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from tests.contracts.test_method_costs import SETTINGS, TRAINER

METHODS = [name for name in Catalogue().groups["method"] if name != "none"]
TEXTS = [
    "task=classification",
    "data=docstring_topic",
    "data.block_size=16",
]
TEXTS += ["data.tokenizer=bytes", "model.dim=8", "model.num_heads=2", "data.batch_size=8"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "pair", [*itertools.combinations_with_replacement(METHODS, 2)], ids="-".join
)
def test_every_pair_trains_or_is_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    """With their defaults, in the order that they declare; the first setting for both is taken."""
    chosen = f"method=[{','.join(dict.fromkeys(pair))}]"
    more = [f"out={tmp_path}", "trainer.max_steps=2", "trainer.log_every_n_steps=1"]
    more += ["method.freeze.train=.*"] if "freeze" in pair else []
    for setting in (TEXTS, *SETTINGS):
        try:
            spec = spec_of([*setting, *TRAINER, *more, chosen])
        except UserError:
            continue
        summary = execute(spec)
        assert summary.status == "finished", (setting, summary.error)
        return


def test_the_settings_are_what_they_are_for() -> None:
    """What is refused is the pair, not the setting."""
    for setting in (TEXTS, *SETTINGS[:1], *SETTINGS[2:]):
        spec_of([*setting, *TRAINER])
    spec_of([*TEXTS, *TRAINER, "method=[fgm,gradient_penalty]"])
