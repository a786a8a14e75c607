"""How long a step of each optimizer takes, against lion-pytorch, a copy of the parameters, lists.

The contestants take turns, so that a busy machine is equally busy for all. A step of Lion or Tiger
must read and write the parameters and the momentum and read the gradient: five passes over the
parameters' memory, of which a copy makes two. Those of `FOREACH` are held against the same
arithmetic in torch's operations on lists of tensors, with nothing around it: they may take 1.1
times as long.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from suexp.nn.param_groups import param_groups
from suexp.optimizer import (
    EGD,
    EGDD,
    SGD,
    SGDM,
    Adam,
    AdamAccum,
    AdamW,
    EGDMeta,
    Lion,
    Signum,
    Tiger,
)

PEER = "lion-pytorch"
COPY = "copy of the parameters"
LIMIT = {"Lion": 0.75, "Tiger": 0.75}
LIST_LIMIT = 1.1  # of a step over that of the lists beside it

Tensors = list[torch.Tensor]


def state(p: Tensors, buffers: int) -> list[Tensors]:
    return [[torch.zeros_like(x) for x in p] for _ in range(buffers)]


def sgdm(p: Tensors, g: Tensors) -> Callable[[], object]:
    (m,) = state(p, 1)

    def step() -> None:
        torch._foreach_mul_(m, 0.9)
        torch._foreach_add_(m, g, alpha=0.1)
        torch._foreach_add_(p, m, alpha=-1e-4)

    return step


def adam_accum(p: Tensors, g: Tensors) -> Callable[[], object]:
    m, v = state(p, 2)

    def step() -> None:
        torch._foreach_mul_(m, 0.9)
        torch._foreach_mul_(v, 0.999)
        torch._foreach_add_(m, g, alpha=0.1)
        torch._foreach_addcmul_(v, g, g, 0.001)
        root = torch._foreach_sqrt(v)
        torch._foreach_div_(root, 0.5)
        torch._foreach_add_(root, 1e-8)
        torch._foreach_addcdiv_(p, m, root, -1e-4)

    return step


def egd(p: Tensors, g: Tensors) -> Callable[[], object]:
    def step() -> None:
        fall = torch._foreach_mul(g, -1e-4)
        torch._foreach_clamp_min_(fall, -10.0)
        torch._foreach_clamp_max_(fall, 10.0)
        for x, change in zip(p, fall, strict=True):
            x.div_(1.0).asinh_().add_(change).sinh_().mul_(1.0)

    return step


def egd_meta(p: Tensors, g: Tensors) -> Callable[[], object]:
    gain, previous = state(p, 2)
    torch._foreach_add_(gain, 1.0)

    def step() -> None:
        torch._foreach_sign_(previous)
        torch._foreach_mul_(previous, g)
        torch._foreach_sign_(previous)
        torch._foreach_mul_(previous, 0.02)
        torch._foreach_exp_(previous)
        torch._foreach_mul_(gain, previous)
        torch._foreach_clamp_min_(gain, 0.01)
        torch._foreach_clamp_max_(gain, 100.0)
        torch._foreach_copy_(previous, g)
        torch._foreach_addcmul_(p, gain, g, -1e-4)

    return step


def egdd(p: Tensors, g: Tensors) -> Callable[[], object]:
    gain, m, mean = state(p, 3)
    torch._foreach_add_(gain, 1.0)
    scale = [x.new_ones(()) for x in p]

    def step() -> None:
        cosine = [x.sum() for x in torch._foreach_mul(g, m)]
        for lists in (g, m):
            lengths = torch._foreach_add(torch._foreach_norm(lists), 1e-10)
            torch._foreach_div_(cosine, lengths)
        torch._foreach_mul_(cosine, 0.001)
        torch._foreach_exp_(cosine)
        torch._foreach_mul_(scale, cosine)
        torch._foreach_clamp_min_(scale, 0.1)
        torch._foreach_clamp_max_(scale, 10.0)
        rise = torch._foreach_sign(mean)
        torch._foreach_mul_(rise, g)
        torch._foreach_sign_(rise)
        torch._foreach_mul_(rise, 0.01)
        torch._foreach_exp_(rise)
        torch._foreach_mul_(gain, rise)
        torch._foreach_clamp_min_(gain, 0.01)
        torch._foreach_clamp_max_(gain, 100.0)
        torch._foreach_mul_(m, 0.9)
        torch._foreach_addcmul_(m, gain, g, 1e-4)
        torch._foreach_lerp_(mean, g, 0.1)
        torch._foreach_addcmul_(p, m, scale, -1)

    return step


FOREACH: dict[type[Any], Callable[[Tensors, Tensors], Callable[[], object]]] = {
    SGDM: sgdm, AdamAccum: adam_accum, EGD: egd, EGDMeta: egd_meta, EGDD: egdd
}  # fmt: skip


def uniform() -> nn.Module:
    """50 matrices of 400 x 500: 10 M parameters."""
    return nn.ModuleList(nn.Linear(500, 400, bias=False) for _ in range(50))


def transformer() -> nn.Module:
    """12 M parameters in 50 tensors of a decoder's shapes: embedding, matrices, gains, biases."""
    matrices = [(384, 3 * 384), (384, 384), (384, 4 * 384), (4 * 384, 384)]
    layers = [
        nn.ModuleList([*(nn.Linear(*m) for m in matrices), nn.LayerNorm(384), nn.LayerNorm(384)])
        for _ in range(4)
    ]
    return nn.ModuleList([nn.Embedding(13_000, 384), *layers, nn.RMSNorm(384)])


SHAPES: dict[str, Callable[[], nn.Module]] = {"uniform": uniform, "transformer": transformer}


def contestants(build: Callable[[], nn.Module]) -> dict[str, Callable[[], object]]:
    """Return a step of each optimizer, each with parameters and gradients of its own."""

    def model() -> nn.Module:
        made = build()
        for p in made.parameters():
            p.grad = torch.randn_like(p)
        return made

    settings = {"lr": 1e-4, "weight_decay": 0.01}
    steps: dict[str, Callable[[], object]] = {}
    try:
        from lion_pytorch import Lion as Peer
    except ImportError:
        print(f"{PEER} is not installed (extra `peers`): no ratios to it")
    else:
        steps[PEER] = Peer(model().parameters(), betas=(0.95, 0.98), **settings).step
    for kind in (Lion, Tiger, Signum, AdamW, Adam, SGD):
        steps[kind.__name__] = kind(param_groups(model()), **settings).step
    steps["Lion, bfloat16 momentum"] = Lion(
        param_groups(model()), momentum_dtype="bfloat16", **settings
    ).step
    for kind, lists in FOREACH.items():
        steps[kind.__name__] = kind(param_groups(model()), lr=1e-4).step
        listed = list(model().parameters())
        gradients = [p.grad for p in listed if p.grad is not None]
        steps[f"{kind.__name__} in lists"] = torch.no_grad()(
            lists([p.detach() for p in listed], gradients)
        )
    source = [p.detach() for p in model().parameters()]
    target = [p.clone() for p in source]

    def copy() -> None:
        for to, origin in zip(target, source, strict=True):
            to.copy_(origin)

    steps[COPY] = copy
    return steps


def compare(build: Callable[[], nn.Module], repeats: int) -> list[dict[str, object]]:
    """Return a row per contestant: median milliseconds, ratios, the limit."""
    steps = contestants(build)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat >= 2:  # the first two make the state and warm up
                seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(samples) for name, samples in seconds.items()}
    return [
        {
            "name": name,
            "ms": 1e3 * time_,
            "ratio_to_peer": time_ / median[PEER] if PEER in median else None,
            "passes": 2 * time_ / median[COPY],
            "limit": LIMIT.get(name),
            "ratio_to_lists": time_ / median[lists] if lists in median else None,
        }
        for name, time_ in median.items()
        for lists in [f"{name} in lists"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--repeats", type=int, default=15, help="median of so many (at least 5)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    options = parser.parse_args()
    if options.repeats < 5:
        parser.error("--repeats: a median needs at least 5")

    tables = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for shapes in options.shapes:
            sizes = [p.numel() for p in SHAPES[shapes]().parameters()]
            rows = compare(SHAPES[shapes], options.repeats)
            tables.append(
                {
                    "threads": threads,
                    "shapes": shapes,
                    "tensors": len(sizes),
                    "parameters": sum(sizes),
                    "repeats": options.repeats,
                    "rows": rows,
                }
            )
            print(
                f"\n{sum(sizes) / 1e6:.1f} M parameters in {len(sizes)} tensors ({shapes}), "
                f"{threads} thread{'s' * (threads > 1)}, median of {options.repeats}"
            )
            head = f"{'one step':26} {'ms':>8} {'x ' + PEER:>15} {'limit':>6} {'passes':>7}"
            print(f"{head} {'x lists':>8}")
            for row in rows:
                ratio = "-" if row["ratio_to_peer"] is None else f"{row['ratio_to_peer']:.2f}"
                limit = row["limit"] or ""
                print(
                    f"{row['name']:26} {row['ms']:8.2f} {ratio:>15} {limit:>6} {row['passes']:7.1f}"
                    f" {f'{lists:.2f}' if (lists := row['ratio_to_lists']) else '':>8}"
                )
    print("\npasses: over the parameters' memory, in units of half a copy; a step's least is 5")
    print(f"x lists: over the same arithmetic in torch's lists; at most {LIST_LIMIT}")
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
