"""Forward and backward of attention: ours against performer-pytorch and nanoGPT-shaped code.

The contestants take turns, so that a busy machine is equally busy for all; ratios are of medians.
Performers get equal features: the same projection, of the default number of directions. Then the
exponents of time and memory against the length: least squares on logarithms, memory being the peak
of what torch's allocator holds beyond the inputs.

The peer builds (n, m, d) tensors a 128th of the text at a time, so its speed depends much on
whether these fit a cache: the ratios grow with the batch.
"""

import argparse
import contextlib
import io
import json
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suexp.attention import Performer, Softmax
from suexp.mask import Bidirectional, Causal
from suexp.mask.base import Mask
from suexp.nn.multi_head import MultiHeadAttention

MASKS: dict[str, Mask] = {"causal": Causal(), "bidirectional": Bidirectional()}
PEER = "performer-pytorch"
LIMIT = {"causal": 15.0, "bidirectional": 1.5}
Rows = list[dict[str, Any]]


class PlainAttention(nn.Module):
    """Causal self attention as minimal GPT code writes it."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(dim, 3 * dim, bias=False)
        self.c_proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens mixed."""
        b, n, c = x.shape
        q, k, v = self.c_attn(x).split(c, dim=2)
        q, k, v = (t.view(b, n, self.heads, c // self.heads).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(b, n, c))


def peer_attention(ours: Performer, causal: bool) -> nn.Module | None:
    """Return performer-pytorch's attention with our projection, if it is installed."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            from performer_pytorch import FastAttention

            m, d = ours.projection.shape
            peer = FastAttention(d, m, causal=causal)  # prints that it has no CUDA extension
    except ImportError:
        return None
    peer.projection_matrix.copy_(ours.projection)
    return peer


def train(call: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], None]:
    """Return a function that runs forward and backward."""

    def run() -> None:
        call(*inputs).sum().backward()
        for x in inputs:
            x.grad = None

    return run


def take_turns(runs: Sequence[Callable[[], None]], repeats: int) -> list[float]:
    """Return each one's median seconds, after two runs each that do not count."""
    seconds: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats + 2):
        for run, samples in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            run()
            if repeat >= 2:  # the allocator's first large blocks are slow
                samples.append(time.perf_counter() - start)
    return [statistics.median(samples) for samples in seconds]


def against_peer(batch: int, n: int, options: argparse.Namespace) -> Rows:
    """Return rows for the causal and the bidirectional Performer."""
    rows: Rows = []
    shape = (batch, options.heads, n, options.head_dim)
    q, k, v = (torch.randn(shape, requires_grad=True) for _ in range(3))
    for name, mask in MASKS.items():
        ours = Performer(options.head_dim, options.features)
        peer = peer_attention(ours, name == "causal")
        runs = [train(lambda q, k, v, ours=ours, mask=mask: ours(q, k, v, mask), q, k, v)]
        runs += [train(peer, q, k, v)] if peer is not None else []
        seconds = take_turns(runs, options.repeats)
        other = seconds[1] if peer is not None else None
        rows.append(
            {
                "what": f"performer, {name}",
                "against": PEER,
                "batch": batch,
                "n": n,
                "ms": seconds[0] * 1e3,
                "other_ms": None if other is None else other * 1e3,
                "ratio": None if other is None else other / seconds[0],
                "limit": LIMIT[name],
            }
        )
    return rows


def against_plain(batch: int, n: int, options: argparse.Namespace) -> Rows:
    """Return a row for softmax attention with its projections, against minimal GPT code."""
    dim = options.heads * options.head_dim
    ours = MultiHeadAttention(dim, options.heads, options.head_dim, Softmax())
    plain = PlainAttention(dim, options.heads)
    x = torch.randn(batch, n, dim, requires_grad=True)
    causal = MASKS["causal"]
    a, b = take_turns([train(lambda x: ours(x, causal), x), train(plain, x)], options.repeats)
    row = {"what": "softmax with projections", "against": "nanoGPT-shaped", "batch": batch, "n": n}
    return [row | {"ms": a * 1e3, "other_ms": b * 1e3, "ratio": b / a, "limit": 1.0}]


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


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the exponent of y against x."""
    a, b = [math.log(z) for z in x], [math.log(z) for z in y]
    mean = statistics.mean(a)
    return sum((p - mean) * q for p, q in zip(a, b, strict=True)) / sum((p - mean) ** 2 for p in a)


def growth(options: argparse.Namespace) -> Rows:
    """Return time and memory of the Performer at growing lengths, and their exponents."""
    rows: Rows = []
    for name, mask in MASKS.items():
        ours = Performer(options.head_dim, options.features)
        runs = []
        for n in options.slope_lengths:
            shape = (1, options.heads, n, options.head_dim)
            qkv = [torch.randn(shape, requires_grad=True) for _ in range(3)]
            runs.append(train(lambda q, k, v, ours=ours, mask=mask: ours(q, k, v, mask), *qkv))
        seconds, memory = take_turns(runs, options.repeats), [peak_bytes(run) for run in runs]
        rows.append(
            {
                "what": f"performer, {name}",
                "n": options.slope_lengths,
                "ms": [s * 1e3 for s in seconds],
                "mib": [b / 2**20 for b in memory],
                "time_slope": slope(options.slope_lengths, seconds),
                "memory_slope": slope(options.slope_lengths, memory),
            }
        )
    return rows


def show_header() -> None:
    columns = f"{'batch':>5} {'n':>6} {'ms':>9} {'other ms':>9} {'times':>6} {'limit':>5}  other"
    print(f"{'forward + backward':26} {columns}", flush=True)


def show(rows: Rows) -> None:
    for row in rows:
        other = "-" if row["other_ms"] is None else f"{row['other_ms']:.1f}"
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
        print(
            f"{row['what']:26} {row['batch']:5} {row['n']:6} {row['ms']:9.1f} {other:>9} "
            f"{ratio:>6} {row['limit']:5}  {row['against']}",
            flush=True,
        )


def show_growth(rows: Rows) -> None:
    for row in rows:
        exponents = f"time ~ n^{row['time_slope']:.2f}, memory ~ n^{row['memory_slope']:.2f}"
        print(f"\n{row['what']}: {exponents}")
        for n, ms, mib in zip(row["n"], row["ms"], row["mib"], strict=True):
            print(f"  n {n:6}  {ms:9.1f} ms  {mib:9.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument(
        "--slope-lengths", type=int, nargs="*", default=[2**p for p in range(10, 15)]
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--features", type=int, help="directions; default int(d ln d)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5, help="median of so many (at least 5)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    options = parser.parse_args()
    if options.repeats < 5:
        parser.error("--repeats: a median needs at least 5")
    if len(options.slope_lengths) == 1:
        parser.error("--slope-lengths: a slope needs two lengths")

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows: Rows = []
    show_header()
    for batch in options.batch:
        for n in options.lengths:
            found = against_peer(batch, n, options) + against_plain(batch, n, options)
            show(found)
            rows += found
    if any(row["ratio"] is None for row in rows):
        print(f"{PEER} is not installed (extra `peers`): no ratios to it")
    growths = growth(options) if options.slope_lengths else []
    show_growth(growths)
    if options.json:
        settings = {k: v for k, v in vars(options).items() if k != "json"}
        result = {"settings": settings, "rows": rows, "growth": growths}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
