"""CRF and MEMM for tagging: ours against pytorch-crf, forward with backward, and decoding.

The contestants take turns, so that a busy machine is equally busy for all; ratios are of medians.
pytorch-crf gets the same transitions, with scores of 0 for the first and last label; what both
compute is compared before anything is timed.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from suexp.loss import Crf, Memm, SoftmaxTagging

PEER = "pytorch-crf"
LIMIT = {"loss": 3.0, "decode": 2.0}
Rows = list[dict[str, Any]]


def peer_crf(ours: Crf) -> Any:
    """Return pytorch-crf's layer with our transitions, if it is installed."""
    try:
        from torchcrf import CRF
    except ImportError:
        return None
    peer = CRF(ours.num_labels, batch_first=True)
    with torch.no_grad():
        peer.start_transitions.zero_()
        peer.end_transitions.zero_()
        peer.transitions.copy_(ours.transitions())
    return peer


def train(loss: Callable[..., Tensor], logits: Tensor, *rest: Tensor) -> Callable[[], None]:
    """Return a function that runs forward and backward."""

    def run() -> None:
        loss(logits, *rest).backward()
        logits.grad = None

    return run


def take_turns(runs: Sequence[Callable[[], Any]], repeats: int) -> list[float]:
    """Return each one's median seconds, after two runs each that do not count."""
    seconds: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats + 2):
        for run, samples in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            run()
            if repeat >= 2:
                samples.append(time.perf_counter() - start)
    return [statistics.median(samples) for samples in seconds]


def compare(length: int, options: argparse.Namespace) -> Rows:
    """Return a row for each contestant's loss and decoding."""
    c = options.labels
    logits = torch.randn(options.batch, length, c, requires_grad=True)
    labels = torch.randint(c, (options.batch, length))
    lengths = torch.full((options.batch,), length)
    if options.ragged:
        lengths = torch.randint(length // 2, length + 1, (options.batch,))
    mask = torch.arange(length) < lengths[:, None]
    losses: dict[str, Any] = {
        f"crf, {name}": Crf(c, implementation=name) for name in ("scan", "parallel", "loop")
    }
    losses |= {
        "memm": Memm(c),
        "bi-memm": Memm(c, bidirectional=True),
        "softmax": SoftmaxTagging(c),
    }
    for loss in losses.values():
        loss.load_state_dict(losses["crf, scan"].state_dict(), strict=False)
    peer = peer_crf(losses["crf, scan"])
    runs = [train(loss, logits, labels, mask) for loss in losses.values()]
    finds = {name: loss for name, loss in losses.items() if name in ("crf, scan", "bi-memm")}
    decodes = [lambda loss=loss: loss.decode(logits, mask) for loss in finds.values()]
    if peer is not None:
        runs.append(train(lambda *x: -peer(*x, reduction="token_mean"), logits, labels, mask))
        decodes.append(lambda: peer.decode(logits, mask))
        agree(losses["crf, scan"], peer, logits, labels, mask)
    rows: Rows = []
    for what, names, calls in (("loss", losses, runs), ("decode", finds, decodes)):
        seconds = take_turns(calls, options.repeats)
        other = seconds[len(names)] if peer is not None else None
        for name, own in zip(names, seconds, strict=False):
            rows.append(
                {
                    "what": f"{what}, {name}",
                    "n": length,
                    "ms": own * 1e3,
                    "other_ms": None if other is None else other * 1e3,
                    "ratio": None if other is None else other / own,
                    "limit": LIMIT[what] if name == "crf, scan" else None,
                }
            )
    return rows


def agree(ours: Crf, peer: Any, logits: Tensor, labels: Tensor, mask: Tensor) -> None:
    """Check that both compute the same, as far as float32 lets them."""
    expected = -peer(logits, labels, mask, reduction="token_mean")
    torch.testing.assert_close(ours(logits, labels, mask), expected, atol=1e-4, rtol=1e-4)
    same = sum(
        a == b for a, b in zip(ours.decode(logits, mask), peer.decode(logits, mask), strict=True)
    )
    assert same >= 0.9 * len(labels), "the paths differ"  # ties within float32 may break otherwise


def show(rows: Rows) -> None:
    print(f"{'':20} {'n':>5} {'ms':>9} {PEER + ' ms':>15} {'times':>7} {'limit':>6}")
    for row in rows:
        other = "-" if row["other_ms"] is None else f"{row['other_ms']:.1f}"
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
        limit = "" if row["limit"] is None else row["limit"]
        print(f"{row['what']:20} {row['n']:5} {row['ms']:9.2f} {other:>15} {ratio:>7} {limit:>6}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--ragged", action="store_true", help="rows of half to full length")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7, help="median of so many (at least 5)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    options = parser.parse_args()
    if options.repeats < 5:
        parser.error("--repeats: a median needs at least 5")

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows = [row for length in options.lengths for row in compare(length, options)]
    if any(row["ratio"] is None for row in rows):
        print(f"{PEER} is not installed (extra `peers`): no ratios to it")
    show(rows)
    if options.json:
        settings = {k: v for k, v in vars(options).items() if k != "json"}
        result = {"settings": settings, "rows": rows}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
