"""What a trainer counts, and how far; and what ends a run."""

import math
from collections.abc import Mapping
from typing import Any

from suexp.errors import UserError

# Whole numbers from 1 on, with an example.
_WHOLE = {"val_check_interval": 200, "log_every_n_steps": 10, "accumulate_grad_batches": 1}
ON_DIVERGENCE = ("fail", "record")
_SHARES = ("limit_train_batches", "limit_val_batches", "limit_test_batches")


def check_counts(trainer: Mapping[str, Any]) -> None:
    """Refuse numbers of the right type that Lightning stumbles at, or reads as something else.

    Raises:
        UserError: the first of them, in one line.
    """
    steps = trainer.get("max_steps", 0)
    if steps < 0 and (steps < -1 or trainer.get("max_epochs") in (None, -1)):
        raise UserError(
            f"trainer.max_steps={steps} is no number of steps; set trainer.max_steps=600, or "
            "trainer.max_steps=-1 with +trainer.max_epochs=3"
        )
    # Validations are counted in epochs, or there is no step to count.
    uncounted = trainer.get("check_val_every_n_epoch") is not None or steps == 0
    for key, example in _WHOLE.items():
        value = trainer.get(key, 1)
        if (type(value) is not int or value < 1) and not (
            uncounted and key == "val_check_interval"
        ):
            raise UserError(
                f"trainer.{key}={value} is no whole number from 1 on; set trainer.{key}={example}"
            )
    for key in _SHARES:
        value = trainer.get(key)
        if value is not None and not 0 <= value <= (1 if isinstance(value, float) else math.inf):
            raise UserError(
                f"trainer.{key}={value} is neither a number of batches nor a share of them from "
                f"0.0 to 1.0; set trainer.{key}=1.0"
            )
    choice = trainer.get("on_divergence", "fail")
    if choice not in ON_DIVERGENCE:
        raise UserError(
            f"trainer.on_divergence={choice} is neither fail nor record; "
            "set trainer.on_divergence=record"
        )
    first = trainer.get("val_at_start", False)
    if not isinstance(first, bool):
        raise UserError(f"trainer.val_at_start={first} is neither true nor false")
    for key in ("gradient_clip_val", "checkpoint_seconds"):
        value = trainer.get(key)
        if value is not None and not (isinstance(value, (int, float)) and value >= 0):
            raise UserError(f"trainer.{key}={value} is no number from 0 on; set trainer.{key}=1.0")
