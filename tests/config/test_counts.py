"""Numbers that have the right type, but that no trainer counts to."""

import pytest

from suexp.config.compose import resolve
from suexp.errors import UserError


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("max_steps=-1", "max_steps=-1 is no number of steps; set trainer.max_steps=600, or"),
        ("max_steps=-5", "max_steps=-5 is no number of steps"),
        ("val_check_interval=-1", "no whole number from 1 on; set trainer.val_check_interval=200"),
        ("val_check_interval=0.25", "trainer.val_check_interval=0.25 is no whole number"),
        ("val_check_interval=1e300", "trainer.val_check_interval=1e+300 is no whole number"),
        ("val_check_interval=null", "trainer.val_check_interval=None is no whole number"),
        ("log_every_n_steps=0", "set trainer.log_every_n_steps=10"),
        ("accumulate_grad_batches=0", "set trainer.accumulate_grad_batches=1"),
        ("limit_val_batches=1.5", "limit_val_batches=1.5 is neither"),
        ("limit_val_batches=-1", "set trainer.limit_val_batches=1.0"),
        ("gradient_clip_val=-1", "gradient_clip_val=-1 is no number from 0 on"),
        ("checkpoint_seconds=soon", "checkpoint_seconds=soon is no number from 0 on"),
        ("limit_val_batches=null", ""),
        ("limit_val_batches=0", ""),
        ("max_steps=0", ""),
    ],
)
def test_what_a_trainer_counts(setting: str, line: str) -> None:
    if not line:
        resolve([f"trainer.{setting}"])
        return
    with pytest.raises(UserError) as found:
        resolve([f"trainer.{setting}"])
    assert line in str(found.value)
    *_, fix = str(found.value).rpartition("; set ")[2].split(", or ")
    resolve(fix.split(" with "))


def test_whether_it_validates_first_is_yes_or_no() -> None:
    resolve(["trainer.val_at_start=true"])
    with pytest.raises(UserError, match="val_at_start=abc is neither true nor false"):
        resolve(["trainer.val_at_start=abc"])


def test_epochs_may_be_counted_instead() -> None:
    resolve(["trainer.max_steps=-1", "+trainer.max_epochs=2"])
    resolve(["+trainer.check_val_every_n_epoch=1", "trainer.val_check_interval=0.5"])
    with pytest.raises(UserError, match="is no number of steps"):
        resolve(["trainer.max_steps=-1", "+trainer.max_epochs=-1"])
