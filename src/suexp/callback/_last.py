"""When a measurement of the trained model is due."""

import pytorch_lightning as pl


def is_last(trainer: pl.Trainer) -> bool:
    """Tell whether this validation is the last; without a number of steps any may be.

    Ask in on_validation_epoch_end: what comes later falls into the time of training.
    """
    return trainer.max_steps in (-1, trainer.global_step)
