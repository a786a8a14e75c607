"""Forward and backward of every attention: ours against its peers in one run.

The contestants take turns, so that a busy machine is equally busy for all; ratios are of medians,
that of the fastest peer counts. Then the exponents of time and memory against the length: least
squares on logarithms, memory being the peak of what torch's allocator holds beyond the inputs.

Peers do what ours does, but for these: linear-attention-transformer takes softmaxes for features,
which saves its bidirectional form the denominators, and its causal form sees no token of one's own
64; local-attention's window has a token more. Performers get equal features: the same projection,
of the default number of directions. performer-pytorch builds (n, m, d) tensors a 128th of the text
at a time, so its speed depends much on whether these fit a cache: the ratio grows with the batch.
"""

import argparse
import contextlib
import functools
import importlib
import io
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suexp.attention import (
    EntropyInvariant,
    Linear,
    NoisySoftmax,
    Performer,
    Realformer,
    Softmax,
    TalkingHeads,
    Taylor,
)
from suexp.attention.base import Attention, Carried
from suexp.mask import Bidirectional, Blockwise, Causal, Window
from suexp.mask.base import Mask
from suexp.nn.multi_head import MultiHeadAttention
from suexp.position import T5, Alibi
from suexp.position.base import Position
from suexp.task._peak import peak_bytes

MASKS: dict[str, Mask] = {"causal": Causal(), "bidirectional": Bidirectional()}
WINDOW = 64
TABLE = 4096  # the longest text whose n x m numbers are worth the wait
Call = Callable[..., Tensor]
Rows = list[dict[str, Any]]


@dataclass
class Contest:
    """What is compared.

    Attributes:
        name: what ours is.
        ours: makes the output of q, k and v.
        others: the peers by name, None where one is not installed.
        limit: how many times as fast as the fastest peer ours should be.
        tables: whether ours needs n x m numbers.
        projected: the size of tokens, where these are given instead of q, k and v.
    """

    name: str
    ours: Call
    others: Mapping[str, Call | None] = field(default_factory=dict)
    limit: float = 1.0
    tables: bool = False
    projected: int | None = None

    @property
    def installed(self) -> dict[str, Call]:
        """The peers that are there."""
        return {name: call for name, call in self.others.items() if call is not None}


def module(name: str) -> Any:
    """Return a peer's module, or None where it is not installed."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # performer-pytorch prints that it has no CUDA
            return importlib.import_module(name)
    except ImportError:
        return None


def attending(
    attention: Attention, mask: Mask, position: Position | None = None, depth: int = 1
) -> Call:
    """Return layers of an attention of ours as a function; they share the position's bias."""

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        places = torch.arange(q.shape[-2])
        bias = None if position is None else position.bias(places, places)
        carried = {"carried": Carried()} if attention.carries else {}
        for _ in range(depth):
            v = attention(q, k, v, mask, bias, **carried)
        return v

    return call


def fused(causal: bool, factor: Tensor | None = None) -> Call:
    """Return torch's fused attention, with its queries multiplied by a number for each."""

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q = q if factor is None else q * factor[: q.shape[-2], None]
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    return call


def tabled(table: Callable[[int], Tensor]) -> Call:
    """Return torch's attention under a mask that is a table."""
    made = functools.lru_cache(1)(table)
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=made(q.shape[-2]))


def attend(
    bias: nn.Module | None = None, depth: int = 1, residual: bool = False, **options: Any
) -> Call | None:
    """Return layers of x-transformers' core, each of which asks for the bias anew."""
    if module("x_transformers") is None:
        return None
    core = module("x_transformers.attend").Attend(**options)

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        n, before = q.shape[-2], None
        for _ in range(depth):
            added = None if bias is None else bias(n, n)
            v, kept = core(q, k, v, attn_bias=added, prev_attn=before)
            before = kept.qk_similarities if residual else None
        return v

    return call


def theirs(name: str, **options: Any) -> nn.Module | None:
    """Return one of x-transformers' position biases."""
    kinds = module("x_transformers.x_transformers")
    return None if kinds is None else getattr(kinds, name)(**options)


def performer_peer(ours: Performer, causal: bool) -> Call | None:
    """Return performer-pytorch's attention with our projection."""
    kinds = module("performer_pytorch")
    if kinds is None:
        return None
    m, d = ours.projection.shape
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        peer = kinds.FastAttention(d, m, causal=causal)
    peer.projection_matrix.copy_(ours.projection)
    return peer


def local_peer(causal: bool, exact: bool) -> Call | None:
    """Return local-attention's window, or blocks."""
    kinds = module("local_attention")
    size = WINDOW if exact else WINDOW // 2
    if kinds is None:
        return None
    return kinds.LocalAttention(size, causal=causal, exact_windowsize=exact, autopad=True)


def textbook(causal: bool, size: int = 64) -> Call:
    """Return linear attention with elu + 1 in plain torch code, in buckets if it is causal."""

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k = F.elu(q) + 1, F.elu(k) + 1
        if not causal:
            return (q @ (k.mT @ v)) / (q @ k.sum(-2, keepdim=True).mT)
        q, k, v = (x.unflatten(2, (-1, size)) for x in (q, k, v))
        sums, total = (k.mT @ v).cumsum(2), k.sum(-2, keepdim=True).cumsum(2)
        sums, total = (F.pad(x[:, :, :-1], (0, 0, 0, 0, 1, 0)) for x in (sums, total))
        own = (q @ k.mT).tril()
        below = own.sum(-1, keepdim=True) + q @ total.mT
        return ((own @ v + q @ sums) / below).flatten(2, 3)

    return call


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


def softmaxes(heads: int) -> Iterator[Contest]:
    """Yield the contests of softmax attention, and of what is added to its scores."""
    for name, mask in MASKS.items():
        causal = name == "causal"
        others = {
            "torch SDPA": fused(causal),
            "x-transformers": attend(flash=True, causal=causal),
        }
        yield Contest(f"softmax, {name}", attending(Softmax(), mask), others)
    count = torch.arange(1, 2**15).clamp_min(16).log() / torch.tensor(512.0).log()
    yield Contest(
        "entropy_invariant, causal",
        attending(EntropyInvariant(), MASKS["causal"]),
        {"torch SDPA, queries scaled": fused(True, count)},
    )
    biases: dict[str, tuple[Position, nn.Module | None]] = {
        "alibi": (Alibi(heads), theirs("AlibiPositionalBias", heads=heads)),
        "t5": (T5(heads), theirs("RelativePositionBias", scale=1.0, causal=True, heads=heads)),
    }
    for name, (position, bias) in biases.items():
        others = {
            f"x-transformers, {how}": None
            if bias is None
            else attend(bias, 2, flash=how == "fused", causal=True, heads=heads)
            for how in ("fused", "explicit")
        }
        ours = attending(Softmax(), MASKS["causal"], position, depth=2)
        yield Contest(f"softmax with {name}, two layers", ours, others, tables=True)


def near() -> Iterator[Contest]:
    """Yield the contests of windows and blocks."""
    for name, mask, exact in (
        ("window, causal", Window(WINDOW), True),
        ("window, bidirectional", Window(WINDOW, causal=False), True),
        ("blockwise", Blockwise(WINDOW), False),
    ):
        others = {"local-attention": local_peer("bidirectional" not in name, exact)}
        others["torch SDPA, table"] = tabled(lambda n, mask=mask: mask.dense(n, n))
        yield Contest(name, attending(Softmax(), mask), others)


def explicit(heads: int) -> Iterator[Contest]:
    """Yield the contests of attention that forms its weights."""
    talk = {"pre_talking_heads": True, "post_talking_heads": True, "heads": heads}
    contestants: dict[str, tuple[Attention, dict[str, Any], int]] = {
        "talking_heads": (TalkingHeads(heads), talk, 1),
        "realformer, two layers": (Realformer(), {"heads": heads, "residual": True}, 2),
        "softmax, materialised": (Softmax(kernel="materialised"), {"heads": heads}, 1),
        "noisy_softmax": (NoisySoftmax(), {"heads": heads, "gumbel_softmax": True}, 1),
    }
    for name, (attention, options, depth) in contestants.items():
        ours = attending(attention, MASKS["causal"], depth=depth)
        peer = attend(depth=depth, causal=True, **options)
        label = "x-transformers, gumbel" if "gumbel_softmax" in options else "x-transformers"
        yield Contest(f"{name}, causal", ours, {label: peer}, tables=True)


def linears(heads: int, size: int, features: int | None) -> Iterator[Contest]:
    """Yield the contests of attention that never forms its weights."""
    kinds = module("linear_attention_transformer.linear_attention_transformer")
    for name, mask in MASKS.items():
        causal = name == "causal"
        peer = kinds and (kinds.causal_linear_attn if causal else kinds.linear_attn)
        others = {"linear-attention-transformer": peer, "plain torch": textbook(causal)}
        yield Contest(f"linear, {name}", attending(Linear(), mask), others)
    for name, mask in MASKS.items():
        causal = name == "causal"
        ours = Performer(size, features)
        others = {"performer-pytorch": performer_peer(ours, causal)}
        limit = 15.0 if causal else 1.5
        yield Contest(f"performer, {name}", attending(ours, mask), others, limit)
    # Features of the second order pay for heads of 16.
    kinds = module("taylor_series_linear_attention")
    dim = heads * 16
    taylor = kinds and kinds.TaylorSeriesLinearAttn(dim, dim_head=16, heads=heads)
    ours = MultiHeadAttention(dim, heads, 16, Taylor(16))
    for name, mask in MASKS.items():
        causal = name == "causal"
        slow = MultiHeadAttention(dim, heads, 16, Taylor(16, implementation="quadratic"))
        others = {"our weights, formed": lambda x, slow=slow, mask=mask: slow(x, mask)}
        if not causal:  # theirs is for CUDA alone
            others = {"taylor-series-linear-attention": taylor}
        call = lambda x, mask=mask: ours(x, mask)  # noqa: E731
        yield Contest(f"taylor with projections, {name}", call, others, projected=dim)


def contests(options: argparse.Namespace) -> Iterator[Contest]:
    """Yield everything that is compared."""
    heads, size = options.heads, options.head_dim
    yield from softmaxes(heads)
    yield from near()
    yield from explicit(heads)
    yield from linears(heads, size, options.features)
    dim = heads * size
    whole = MultiHeadAttention(dim, heads, size, Softmax())
    yield Contest(
        "softmax with projections",
        lambda x: whole(x, MASKS["causal"]),
        {"nanoGPT-shaped": PlainAttention(dim, heads)},
        projected=dim,
    )


def inputs(contest: Contest, batch: int, n: int, options: argparse.Namespace) -> list[Tensor]:
    """Return what it is called with."""
    if contest.projected is not None:
        return [torch.randn(batch, n, contest.projected, requires_grad=True)]
    shape = (batch, options.heads, n, options.head_dim)
    return [torch.randn(shape, requires_grad=True) for _ in range(3)]


def train(call: Call, given: list[Tensor]) -> Callable[[], None]:
    """Return a function that runs forward and backward."""

    def run() -> None:
        call(*given).sum().backward()
        for x in given:
            x.grad = None

    return run


def take_turns(runs: Sequence[Callable[[], None]], repeats: int) -> list[float]:
    """Return each one's median seconds, after two runs each that do not count."""
    # The processor's time, where there is one thread, does not run on while others have their turn.
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats + 2):
        for run, samples in zip(runs, seconds, strict=True):
            start = clock()
            run()
            if repeat >= 2:  # the allocator's first large blocks are slow
                samples.append(clock() - start)
    return [statistics.median(samples) for samples in seconds]


def against_peers(contest: Contest, batch: int, n: int, options: argparse.Namespace) -> Rows:
    """Return a row for each peer."""
    given = inputs(contest, batch, n, options)
    calls = [contest.ours, *contest.installed.values()]
    own, *rest = take_turns([train(call, given) for call in calls], options.repeats)
    fastest = min(rest, default=None)
    row = {"what": contest.name, "batch": batch, "n": n, "ms": own * 1e3, "limit": contest.limit}
    return [
        row
        | {"against": name, "other_ms": other * 1e3, "ratio": other / own}
        | {"fastest": other == fastest}
        for name, other in zip(contest.installed, rest, strict=True)
    ]


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the exponent of y against x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def growth(contest: Contest, options: argparse.Namespace) -> dict[str, Any]:
    """Return time and memory at growing lengths, and their exponents."""
    lengths = [n for n in options.slope_lengths if not contest.tables or n <= TABLE]
    runs = [train(contest.ours, inputs(contest, 1, n, options)) for n in lengths]
    seconds = take_turns(runs, min(options.repeats, 3))
    memory = [peak_bytes(run, torch.device("cpu")) for run in runs]
    return {
        "what": contest.name,
        "tables": contest.tables,
        "n": lengths,
        "ms": [s * 1e3 for s in seconds],
        "mib": [b / 2**20 for b in memory],
        "time_exponent": exponent(lengths, seconds),
        "memory_exponent": exponent(lengths, memory),
    }


def show_header() -> None:
    columns = f"{'batch':>5} {'n':>6} {'ms':>9} {'other ms':>9} {'times':>7} {'limit':>5}  other"
    print(f"{'forward + backward':37} {columns}", flush=True)


def show(rows: Rows) -> None:
    for row in rows:
        mark = " (fastest)" if row["fastest"] and len(rows) > 1 else ""
        print(
            f"{row['what']:37} {row['batch']:5} {row['n']:6} {row['ms']:9.1f} "
            f"{row['other_ms']:9.1f} {row['ratio']:7.2f} {row['limit']:5}  {row['against']}{mark}",
            flush=True,
        )


def show_growth(row: Mapping[str, Any]) -> None:
    exponents = f"time ~ n^{row['time_exponent']:.2f}, memory ~ n^{row['memory_exponent']:.2f}"
    print(f"{row['what']:37} {exponents}{', needs n x m' if row['tables'] else ''}")
    for n, ms, mib in zip(row["n"], row["ms"], row["mib"], strict=True):
        print(f"  n {n:6}  {ms:9.1f} ms  {mib:9.1f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="*", default=[512, 2048])
    parser.add_argument(
        "--slope-lengths", type=int, nargs="*", default=[2**p for p in range(9, 15)]
    )
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the contests' names")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
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
    chosen = [c for c in contests(options) if any(part in c.name for part in options.only)]
    rows: Rows = []
    show_header()
    for contest in chosen:
        for batch in options.batch:
            for n in options.lengths:
                found = against_peers(contest, batch, n, options)
                show(found)
                rows += found
    missing = {name for c in chosen for name, call in c.others.items() if call is None}
    if missing:
        print(f"not installed (extra `peers`): {', '.join(sorted(missing))}")
    growths = []
    for contest in chosen if options.slope_lengths else []:
        growths.append(growth(contest, options))
        show_growth(growths[-1])
    if options.json:
        settings = {k: v for k, v in vars(options).items() if k != "json"}
        result = {"settings": settings, "rows": rows, "growth": growths}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
