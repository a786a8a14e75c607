"""Contrastive steps in one piece and in chunks: peak memory and seconds against the batch.

The encoder is the Transformer, the texts are random tokens. Memory is measured twice, as what
graphs hold (`suexp.nn.saved`) and as the peak of torch's allocator beyond what it held before the
step; the table of scores and the vectors, which no scheme can leave out, are listed beside them.
The contestants take turns, so that a busy machine is equally busy for both.
"""

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from suexp.attention import Softmax
from suexp.data.digits import Digits
from suexp.init import Default
from suexp.loss import InfoNCE
from suexp.mask import Bidirectional
from suexp.method import GradCache
from suexp.method.base import Method
from suexp.model import Transformer
from suexp.nn.saved import SavedBytes
from suexp.norm import Layer
from suexp.position import Rope
from suexp.task.matching import Matching

Rows = list[dict[str, Any]]


def contestant(options: argparse.Namespace, *methods: Method) -> Matching:
    """Return the task with its encoder, whose weights are those of the other contestant."""
    torch.manual_seed(0)
    head_dim = options.dim // options.heads
    model = Transformer(
        vocab_size=1000,
        attention=Softmax(),
        position=Rope(head_dim),
        norm=Layer(options.dim),
        mask=Bidirectional(),
        init=Default(),
        dim=options.dim,
        num_layers=options.layers,
        num_heads=options.heads,
        num_outputs=0,
    )
    task = Matching(model=model, loss=InfoNCE(), optimizer=None, scheduler=None, data=Digits())
    task.wrap(list(methods))
    return task


def texts(rows: int, length: int) -> dict[str, Tensor]:
    torch.manual_seed(1)
    batch: dict[str, Tensor] = {}
    for side in ("a", "b"):
        batch[f"tokens_{side}"] = torch.randint(1000, (rows, length))
        batch[f"keep_{side}"] = torch.ones(rows, length, dtype=torch.bool)
    return batch


def step(task: Matching, batch: dict[str, Tensor]) -> Callable[[], None]:
    """Return a function that leaves the gradients of a step behind."""

    def run() -> None:
        for parameter in task.parameters():
            parameter.grad = None
        loss = task.training_step(batch, 0)
        assert isinstance(loss, Tensor)
        task.backward(loss)

    return run


def held_bytes(task: Matching, batch: dict[str, Tensor]) -> int:
    """Return the most that graphs hold at one time."""
    with SavedBytes([*task.parameters(), *task.buffers(), *batch.values()]) as meter:
        step(task, batch)()
    return meter.peak


def peak_bytes(run: Callable[[], None]) -> int:
    """Return the most that torch's allocator held during the run beyond what it held before."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler prints when it starts
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        run()
    results: Any = profiler.profiler
    events = [e for e in results.kineto_results.events() if e.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def take_turns(runs: Sequence[Callable[[], None]], repeats: int) -> list[float]:
    """Return each one's median processor seconds, after one run each that does not count."""
    seconds: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats + 1):
        for run, samples in zip(runs, seconds, strict=True):
            start = time.process_time()
            run()
            if repeat:
                samples.append(time.process_time() - start)
    return [statistics.median(samples) for samples in seconds]


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the exponent of y against x."""
    a, b = [math.log(z) for z in x], [math.log(z) for z in y]
    mean = statistics.mean(a)
    return sum((p - mean) * q for p, q in zip(a, b, strict=True)) / sum((p - mean) ** 2 for p in a)


def measure(rows: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return a batch's figures; of the direct step only up to --direct-up-to rows."""
    batch = texts(rows, options.length)
    tasks = {"grad_cache": contestant(options, GradCache(options.chunk))}
    if rows <= options.direct_up_to:
        tasks = {"direct": contestant(options)} | tasks
    runs = {name: step(task, batch) for name, task in tasks.items()}
    seconds = dict(zip(runs, take_turns(list(runs.values()), options.repeats), strict=True))
    return {
        "batch": rows,
        "scores_bytes": 4 * rows * rows,
        "vectors_bytes": 4 * 2 * rows * options.dim,
        "seconds": seconds,
        "held_bytes": {name: held_bytes(task, batch) for name, task in tasks.items()},
        "peak_bytes": {name: peak_bytes(run) for name, run in runs.items()},
    }


def show(rows: Rows) -> None:
    mib = 2**20
    print(f"{'':7}{'MiB held by graphs':>22}{'MiB of the allocator':>23}{'MiB of':>17}")
    print(
        f"{'batch':>7}{'direct':>11}{'in chunks':>11}{'direct':>12}{'in chunks':>11}"
        f"{'scores':>9}{'vectors':>8}{'s direct':>10}{'in chunks':>10}{'ratio':>7}"
    )
    for row in rows:
        columns = [row[kind].get("direct") for kind in ("held_bytes", "peak_bytes", "seconds")]
        held, peak, seconds = ("-" if value is None else value for value in columns)
        held, peak = (x if x == "-" else f"{x / mib:.1f}" for x in (held, peak))
        cached = row["seconds"]["grad_cache"]
        ratio = "-" if seconds == "-" else f"{cached / seconds:.2f}"
        seconds = seconds if seconds == "-" else f"{seconds:.3f}"
        print(
            f"{row['batch']:7}{held:>11}{row['held_bytes']['grad_cache'] / mib:11.1f}"
            f"{peak:>12}{row['peak_bytes']['grad_cache'] / mib:11.1f}"
            f"{row['scores_bytes'] / mib:9.1f}{row['vectors_bytes'] / mib:8.1f}"
            f"{seconds:>10}{cached:10.3f}{ratio:>7}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[2**p for p in range(6, 12)])
    parser.add_argument("--direct-up-to", type=int, default=2048, help="largest direct batch")
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--length", type=int, default=32, help="tokens of a text")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="median of so many")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [measure(batch, options) for batch in options.batch]
    show(rows)
    if len(rows) > 1:
        batches = [row["batch"] for row in rows]
        for kind in ("held_bytes", "peak_bytes"):
            values = [row[kind]["grad_cache"] for row in rows]
            print(f"{kind.split('_')[0]} in chunks ~ batch^{slope(batches, values):.2f}")
    if options.json:
        settings = {k: v for k, v in vars(options).items() if k != "json"}
        result = {"settings": settings, "rows": rows}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
