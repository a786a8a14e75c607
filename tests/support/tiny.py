"""The smallest real run: two seconds, all parts."""

from pathlib import Path
from types import ModuleType
from typing import Any

from suexp.code import reach, source
from suexp.config import compose
from suexp.config.catalogue import Catalogue
from suexp.store import identity
from suexp.store.spec import RunSpec

TINY = (
    "data.tokenizer=bytes",
    "data.max_bytes=60000",
    "data.block_size=16",
    "data.batch_size=4",
    "model.dim=16",
    "model.num_heads=2",
    "model.dropout=0.1",
    "task.sample_tokens=0",
    "trainer=cpu",
    "trainer.max_steps=20",
    "trainer.val_check_interval=10",
    "trainer.limit_val_batches=2",
    "trainer.log_every_n_steps=5",
    "trainer.enable_progress_bar=false",
    "threads=1",
)


EXPERIMENT = """
# @package _global_
# A test's experiment.
defaults:
  - _self_
hydra: {mode: MULTIRUN}
post: {slug: tiny, title: T, title_zh: T, url: https://kexue.fm, date: 2020-01-01, paper: P,
       claim: C, limits: []}
seeds: [0, 1]
figures:
  curves: {kind: line, from: history, x: step, y: val/loss, by: arm, caption: "Curves."}
"""


def forget_compositions() -> None:
    """Make the next configs be composed and resolved anew."""
    _forget(compose)


def forget_code() -> None:
    """Make the next look at source files read them anew."""
    _forget(reach, identity, source)


def _forget(*modules: ModuleType) -> None:
    for function in (value for module in modules for value in vars(module).values()):
        if hasattr(function, "cache_clear"):
            function.cache_clear()


def unchecked(overrides: list[str], callback: str, **settings: Any) -> RunSpec:
    """Return a run with a callback that composing would refuse, as a program may do."""
    config = compose.resolve(overrides).config
    node = Catalogue().option("callback", callback).content[callback]
    config["callbacks"] = {callback: {**node, **settings}}
    return RunSpec.of(config)


def tiny(out: Path, *overrides: str) -> list[str]:
    return [*TINY, f"out={out}", *overrides]
