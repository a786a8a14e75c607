"""Small runs of every kind, one to three of their settings changed by chance."""

import functools
import random

from suexp.config.compose import resolve
from tests.fuzz.lines import flat

BASE = ("scale=smoke", "trainer=cpu", "trainer.enable_progress_bar=false", "threads=1")
TEXT = ("data.tokenizer=bytes", "data.max_bytes=60000", "data.block_size=16", "data.batch_size=4")
SMALL = ("model.dim=16", "model.num_heads=2")
# What trains or measures something within a second or two.
KINDS = (
    ("task=causal_lm", "data=pydoc", *TEXT, *SMALL, "task.sample_tokens=4"),
    ("task=masked_lm", "data=pydoc", *TEXT, *SMALL, "position=learned"),
    ("task=causal_lm", "data=pydoc", *TEXT, *SMALL, "attention=performer", "optimizer=lion"),
    ("task=classification", "data=digits", "model=mlp", "model.dim=8", "optimizer=sgd"),
    (
        "task=classification",
        "data=digits",
        "model=mlp",
        "method=vat",
        "method.vat.granularity=sample",
    ),
    ("task=regression", "data=sklearn", "data.name=diabetes", "model=mlp", "model.dim=8"),
    ("task=adversarial", "data=ring", "model=gan_mlp"),
    ("task=autoencoding", "data=mixture2d", "model=vae"),
    ("task=density_fit", "data=mixture2d", "model=gmm"),
    ("task=points_in_sector", "data=counter", "data.num_samples=100"),
    ("task=softmax_entropy", "data=counter", "data.num_samples=10"),
)
WILD = (
    *("0", "-1", "1e-300", "1e300", "nan", "inf", "-inf", "2147483648", "9223372036854775807"),
    *("true", "false", "null", "[]", "[0]", "[-1,2]", "[1e300]", "abc", "''"),
)
# How long a run is, how it validates and how many devices it takes is tested elsewhere.
LEFT = (
    *("devices", "max_steps", "val_check_interval", "limit_val_batches", "checkpoint_seconds"),
    "_target_",
)


def line(rng: random.Random) -> list[str]:
    """Return the overrides of a run: most stay in range and reach the training."""
    kind = rng.choice(KINDS)
    settings = _settings(kind)
    changed = rng.sample(sorted(settings), rng.choice((1, 1, 2)))
    return [*BASE, *kind, *(f"{key}={_changed(rng, settings[key])}" for key in changed)]


def _changed(rng: random.Random, value: float) -> str:
    if rng.random() < 0.2:
        return rng.choice(WILD)
    if isinstance(value, bool):
        return str(not value).lower()
    if isinstance(value, int):
        return str(rng.choice((1, 2, 3, 7, value + 1, 2 * value, value // 2)))
    return str(rng.choice((0.0, 0.25, 0.5, 1.0, value / 10, value / 2, 3 * value)))


@functools.cache
def _settings(kind: tuple[str, ...]) -> dict[str, float]:
    """Return the numbers and switches of a kind of run, but for what is tested elsewhere."""
    found = dict(flat(resolve([*BASE, *kind]).config, ""))
    own = ("allow_targets", "callbacks", "run", "scale", "study")
    return {
        key: value
        for key, value in found.items()
        if key in ("seed", "threads") or ("." in key and not key.startswith(own))
        if key.rpartition(".")[2] not in LEFT and isinstance(value, int | float)
    }
