"""When a measurement is due: before training, or once it is over."""

import pytorch_lightning as pl


def is_first(trainer: pl.Trainer) -> bool:
    """Tell whether training begins here; a resumed run has measured it, and kept it, before.

    Ask in on_train_start.
    """
    return trainer.global_step == 0


def is_last(trainer: pl.Trainer) -> bool:
    """Tell whether this validation is the last; without a number of steps any may be.

    Ask in on_validation_epoch_end: what comes later falls into the time of training.
    """
    return trainer.max_steps in (-1, trainer.global_step)
