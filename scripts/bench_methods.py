"""What a step costs with methods that move its input, and with LoRA, relative to a plain step.

The network is the Transformer as a classifier of random tokens; the step is training's: the loss,
wrapped by the method, its gradient, and Adam's update. Contestants take turns, so that a busy
machine is equally busy for all, and a ratio is the median over turns of the quotient with the plain
step of the same turn.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from suexp.attention import Softmax
from suexp.data.digits import Digits
from suexp.init import Default
from suexp.loss import CrossEntropy
from suexp.mask import Bidirectional
from suexp.method import FGM, PGD, VAT, EmbeddingNoise, GradientPenalty, LoRA
from suexp.method.base import Method
from suexp.model import Transformer
from suexp.norm import Layer
from suexp.position import Learned
from suexp.task.classification import Classification

METHODS: dict[str, Callable[[], Method]] = {
    "embedding_noise": EmbeddingNoise,
    "fgm": FGM,
    "fgm, sample": lambda: FGM(granularity="sample"),
    "gradient_penalty": GradientPenalty,
    "lora, rank 8": lambda: LoRA(rank=8, train="classifier"),
    "pgd, 3 steps": PGD,
    "vat": VAT,
}


def step_of(model: Transformer, batch: dict[str, Tensor], *methods: Method) -> Callable[[], None]:
    """Return a function that takes a step of a copy of the model."""
    task = Classification(
        model=copy.deepcopy(model),
        loss=CrossEntropy(),
        optimizer=None,
        scheduler=None,
        data=Digits(),
    )
    task.wrap(list(methods))
    learning = [p for part in task.trained for p in part.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss = task.training_step(batch, 0)
        assert loss is not None
        task.backward(loss)
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("rows", 32), ("length", 64), ("dim", 128), ("layers", 2), ("turns", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--vocab-size", type=int, default=2048)
    parser.add_argument("--json", type=Path, help="write the ratios there")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Transformer(
        vocab_size=options.vocab_size,
        attention=Softmax(),
        position=Learned(options.length, options.dim),
        norm=Layer(options.dim),
        mask=Bidirectional(),
        init=Default(),
        dim=options.dim,
        num_layers=options.layers,
        num_heads=4,
        num_outputs=9,
    )
    tokens = torch.randint(options.vocab_size, (options.rows, options.length))
    keep = torch.ones_like(tokens, dtype=torch.bool)
    batch = {"tokens": tokens, "keep": keep, "label": torch.arange(options.rows) % 9}
    plain = step_of(model, batch)
    steps = {name: step_of(model, batch, make()) for name, make in METHODS.items()}
    for step in (plain, *steps.values()):
        step()
    base: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.turns):
        base.append(seconds(plain))
        for name, step in steps.items():
            ratios[name].append(seconds(step) / base[-1])
    found = {name: statistics.median(values) for name, values in ratios.items()}
    print(f"plain step {1000 * statistics.median(base):.1f} ms")
    for name, ratio in found.items():
        print(f"{name:18} {ratio:.2f} times")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
