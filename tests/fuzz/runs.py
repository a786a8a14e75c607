"""Small runs of every kind, one or two of their numbers gone wrong."""

import functools
import random
from collections.abc import Iterator
from typing import Any

from suexp.config.compose import resolve

BASE = ("scale=smoke", "trainer=cpu", "trainer.enable_progress_bar=false", "threads=1")
TEXT = ("data.tokenizer=bytes", "data.max_bytes=60000", "data.block_size=16", "data.batch_size=4")
SMALL = ("model.dim=16", "model.num_heads=2")
# What trains or measures something within a second or two.
KINDS = (
    ("task=causal_lm", "data=pydoc", *TEXT, *SMALL, "task.sample_tokens=4"),
    ("task=masked_lm", "data=pydoc", *TEXT, *SMALL, "position=learned"),
    ("task=causal_lm", "data=pydoc", *TEXT, *SMALL, "attention=performer", "optimizer=lion"),
    ("task=classification", "data=digits", "model=mlp", "model.dim=8", "optimizer=sgd"),
    ("task=adversarial", "data=ring", "model=gan_mlp"),
    ("task=autoencoding", "data=mixture2d", "model=vae"),
    ("task=density_fit", "data=mixture2d", "model=gmm"),
    ("task=points_in_sector", "data=counter", "data.num_samples=100"),
    ("task=softmax_entropy", "data=counter", "data.num_samples=10"),
)
VALUES = (
    *("0", "-1", "1", "2", "3", "7", "64", "0.5", "-0.5", "1.5", "1e-300", "1e300", "nan", "inf"),
    *("-inf", "true", "false", "null", "[]", "[0]", "[-1,2]", "[1e300]", "abc", "''"),
    *("1000000000", "2147483647", "2147483648", "9223372036854775807"),
)
# How long a run is, how it validates and how many devices it takes is tested elsewhere.
LEFT = (
    "devices",
    "max_steps",
    "val_check_interval",
    "limit_val_batches",
    "checkpoint_seconds",
    "_target_",
)


def line(rng: random.Random) -> list[str]:
    """Return the overrides of a run."""
    kind = rng.choice(KINDS)
    keys = [key for key in _keys(kind) if key.rpartition(".")[2] not in LEFT]
    wrong = [f"{rng.choice(keys)}={rng.choice(VALUES)}" for _ in range(rng.choice((1, 1, 2)))]
    return [*BASE, *kind, *wrong]


@functools.cache
def _keys(kind: tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys of a kind of run that stand in a group, and the two of all runs."""
    found = flat(resolve([*BASE, *kind]).config, "")
    own = ("allow_targets", "callbacks", "run", "scale", "study")
    return ("seed", "threads", *(k for k in found if "." in k and not k.startswith(own)))


def flat(node: Any, path: str) -> Iterator[str]:
    """Give the keys of nested mappings, those of the mappings themselves included."""
    for key, value in node.items() if isinstance(node, dict) else ():
        yield path + str(key)
        yield from flat(value, f"{path}{key}.")
