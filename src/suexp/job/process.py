"""What a process does before its first run."""

import functools
import gc
import logging
import os
import warnings


def prepare() -> None:
    """Keep Lightning's advice for newcomers off the screen, and imports out of collections."""
    _spare_collections()
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for pattern in (
        ".*does not have many workers.*",
        ".*LeafSpec.*",
        ".*your dataloader is not resumable.*",  # ours is: see suexp.job.checkpoint
        ".*sync_dist=True.*",  # torchmetrics has summed over the processes already
        ".*The number of training batches.*",
        ".*Checkpoint directory.*exists and is not empty.*",
        ".*is smaller than the logging interval.*",
        ".*training_step. returned .None.*",  # a method skipped the step
    ):
        warnings.filterwarnings("ignore", pattern)  # Python keeps one entry of equal ones


@functools.cache
def _spare_collections() -> None:
    """Keep what was imported out of garbage collections, which else go through it in every run."""
    gc.freeze()


def leads() -> bool:
    """Tell whether this process writes the run's files: of a run's processes, the first does."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0
