"""A small conf/ of its own, with classes of its own, for tests of the command line."""

from pathlib import Path
from textwrap import dedent

FILES = {
    "config.yaml": """
        defaults:
          - attention: softmax
          - position: rope
          - optimizer: adamw
          - transform: null
          - task: lm
          - trainer: cpu
          - scale: laptop
          - data: text
          - _self_
          - experiment: null
          - override hydra/job_logging: stdout
        seed: 0
        parent: null
        out: outputs
        on_error: continue
        only: null
        allow_targets: []
        callbacks: {}
        run: {experiment: null, arm: null}
        """,
    "attention/softmax.yaml": """
        # The usual attention.
        _target_: tiny_parts.Softmax
        dropout: 0.0
        """,
    "attention/performer.yaml": """
        _target_: tiny_parts.Performer
        num_features: 64
        kind: positive
        """,
    "position/rope.yaml": """
        # Rotary.
        _target_: tiny_parts.Rope
        base: 10000.0
        """,
    "position/alibi.yaml": """
        # Linear penalty.
        _target_: tiny_parts.Alibi
        """,
    "position/learned.yaml": """
        # A vector for each place.
        _target_: tiny_parts.Learned
        max_length: ${data.block_size}
        """,
    "optimizer/adamw.yaml": """
        # Adam with decoupled decay.
        _target_: tiny_parts.AdamW
        lr: 1e-3
        betas: [0.9, 0.99]
        """,
    "optimizer/lion.yaml": """
        # Signs.
        _target_: tiny_parts.Lion
        lr: 1e-4
        betas: [0.9, 0.99]
        momentum_dtype: null
        """,
    "task/lm.yaml": """
        # Next token.
        _target_: tiny_parts.LM
        num_points: [3, 4]
        """,
    "task/vectors.yaml": """
        # Needs vectors.
        _target_: tiny_parts.Vectors
        """,
    "trainer/cpu.yaml": """
        # One CPU.
        max_steps: 10   # updates, not # batches
        """,
    "trainer/long.yaml": """
        # More steps.
        defaults: [cpu, _self_]
        max_steps: 100
        """,
    "scale/laptop.yaml": """
        # Minutes.
        name: laptop
        """,
    "scale/smoke.yaml": """
        # @package _global_
        # Seconds.
        scale: {name: smoke}
        trainer: {max_steps: 3, limit: 2}
        """,
    "data/text.yaml": """
        # Text.
        _target_: tiny_parts.Text
        block_size: 32
        """,
    "experiment/lion.yaml": """
        # @package _global_
        # Lion against AdamW.
        defaults:
          - override /optimizer: adamw
          - _self_
        post: {slug: lion, title: Lion, url: https://kexue.fm/archives/9473}
        arms: {adamw: {optimizer: adamw}, lion: {optimizer: lion, optimizer.lr: 3e-4}}
        seeds: [0, 1]
        callbacks: {noise: {every: 5}}
        claims:
          C1: {text: Lion is better., test: "val/loss[lion] < val/loss[adamw]"}
        scales:
          smoke: {seeds: [0]}
        """,
    "experiment/performer.yaml": """
        # @package _global_
        # Performer against softmax.
        defaults:
          - override /attention: softmax
          - _self_
        post: {slug: performer, title: Performer}
        arms:
          softmax: {attention: softmax}
          performer: {attention: performer, attention.num_features: "${extra}"}
        seeds: [0]
        extra: 3
        """,
}

PARTS = '''
"""Classes that only a test knows."""

from typing import ClassVar, Literal

from suexp.component import Component

Kind = Literal["positive", "trigonometric"]


class Attention(Component): ...


class Position(Component): ...


class Data(Component): ...


class Softmax(Attention):
    """$o = softmax(q k) v$.

    Args:
        dropout: probability of dropping
            a weight.
    """

    def __init__(self, dropout: float = 0.0) -> None: ...


class Performer(Attention):
    """Random features, https://kexue.fm/archives/7921 (arXiv:2009.14794)."""

    refuses: ClassVar[dict[str, str]] = {
        "score_bias": "it never forms the scores; use position=rope",
        "task=vectors": "no reason at all",
    }

    def __init__(self, num_features: int = 64, kind: Kind = "positive") -> None: ...


class Rope(Position):
    def __init__(self, base: float = 10000.0) -> None: ...


class Alibi(Position):
    provides: ClassVar[set[str]] = {"score_bias"}


class Learned(Position):
    def __init__(self, max_length: int) -> None: ...


class Optimizer(Component):
    def __init__(self, params: object, lr: float, betas: tuple[float, float]) -> None: ...


class AdamW(Optimizer):
    def __init__(self, params: object, lr: float = 1e-3, **rest: object) -> None: ...


class Lion(Optimizer):
    def __init__(self, *a: object, momentum_dtype: str | None = None, **b: object) -> None: ...


class LM(Component):
    needs: ClassVar[dict[str, str]] = {"text": "it reads text; use data=text"}

    def __init__(self, num_points: list[int] | int = 3) -> None: ...


class Vectors(Component):
    needs: ClassVar[dict[str, str]] = {"vectors": "it reads vectors; use data=digits"}


class Text(Data):
    provides: ClassVar[set[str]] = {"text", "long if block_size", "labels if kind=classes"}

    def __init__(self, block_size: int = 32, kind: str = "lm") -> None: ...
'''


# What a command over the tree says, so that its classes may be named.
TRUST = "allow_targets=tiny_parts"


def write_tree(folder: Path) -> Path:
    """Write conf/ and tiny_parts.py into a folder; return conf/."""
    for name, text in FILES.items():
        path = folder / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip())
    (folder / "tiny_parts.py").write_text(PARTS)
    return folder / "conf"
