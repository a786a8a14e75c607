"""Generation: our decoding with its cache against transformers' generate, and against no cache.

The same GPT-2 (our transformer with GPT-2's kinds of parts, random weights copied from theirs), the
same prompts, the same number of new tokens, no end token. The contestants take turns, so that a
busy machine is equally busy for all; ratios are of medians, above 1 where ours is faster. Times are
the clock's, or with --cpu the processor's.
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

from suexp.attention import Softmax
from suexp.decoding import Greedy, Sample
from suexp.init import Default
from suexp.mask import Causal
from suexp.model import Transformer
from suexp.norm import Layer
from suexp.position import Learned
from suexp.transform._names import gpt2

Rows = list[dict[str, Any]]


def models(options: argparse.Namespace) -> tuple[Any, Transformer]:
    """Return transformers' GPT-2 (None where it is not installed) and ours of the same weights."""
    length = options.prompt + options.new
    ours = Transformer(
        options.vocab,
        Softmax(),
        Learned(length, options.dim),
        Layer(options.dim, eps=1e-5),
        Causal(),
        Default(),
        dim=options.dim,
        num_layers=options.layers,
        num_heads=options.dim // 64,
        ffn="gelu_tanh",
        bias=True,
    ).eval()
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError:
        return None, ours
    config = GPT2Config(
        vocab_size=options.vocab,
        n_positions=length,
        n_embd=options.dim,
        n_layer=options.layers,
        n_head=options.dim // 64,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    theirs = GPT2LMHeadModel(config).eval()
    ours.load_state_dict(gpt2(theirs.state_dict()))
    return theirs, ours


def uncached(model: Transformer, tokens: Tensor, new: int) -> Tensor:
    """Read the whole text again for every token."""
    with torch.no_grad():
        for _ in range(new):
            at = torch.zeros_like(tokens, dtype=torch.bool)
            at[:, -1] = True
            best = model(tokens, at=at).argmax(-1, keepdim=True)
            tokens = torch.cat((tokens, best), 1)
    return tokens


def take_turns(
    runs: Sequence[Callable[[], Any]], repeats: int, clock: Callable[[], float]
) -> list[float]:
    """Return each one's median seconds, after one run each that does not count."""
    seconds: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats + 1):
        for run, samples in zip(runs, seconds, strict=True):
            start = clock()
            run()
            if repeat:
                samples.append(clock() - start)
    return [statistics.median(samples) for samples in seconds]


def compare(theirs: Any, ours: Transformer, batch: int, options: argparse.Namespace) -> Rows:
    """Return a row for greedy decoding and one for sampling."""
    prompt = torch.randint(options.vocab, (batch, options.prompt))
    mask = torch.ones_like(prompt)
    rows: Rows = []
    kinds = {
        "greedy": (Greedy(), {"do_sample": False}),
        "sample": (
            Sample(top_k=40, top_p=0.9),
            {"do_sample": True, "top_k": 40, "top_p": 0.9},
        ),
    }
    for name, (decoding, settings) in kinds.items():
        runs: list[Callable[[], Any]] = [
            lambda decoding=decoding: decoding(ours, prompt, options.new)  # type: ignore[misc]
        ]
        if name == "greedy":
            runs.append(lambda: uncached(ours, prompt, options.new))
        if theirs is not None:
            runs.append(
                lambda settings=settings: theirs.generate(  # type: ignore[misc]
                    prompt,
                    attention_mask=mask,
                    max_new_tokens=options.new,
                    min_new_tokens=options.new,
                    **settings,
                )
            )
        if name == "greedy" and theirs is not None:
            expected = runs[-1]()[:, options.prompt :]
            if not torch.equal(runs[0]().tokens, expected):
                raise SystemExit("the two do not write the same text")
        clock = time.process_time if options.cpu else time.perf_counter
        seconds = take_turns(runs, options.repeats, clock)
        ms = [1e3 * s / options.new for s in seconds]
        rows.append(
            {
                "what": name,
                "batch": batch,
                "ms_per_token": ms[0],
                "uncached_ms": ms[1] if name == "greedy" else None,
                "transformers_ms": ms[-1] if theirs is not None else None,
            }
        )
    return rows


def show(rows: Rows) -> None:
    print(f"{'':8} {'batch':>5} {'ms/token':>9} {'transformers':>13} {'times':>6} {'no cache':>9}")
    for row in rows:
        own, other, slow = row["ms_per_token"], row["transformers_ms"], row["uncached_ms"]
        theirs = "-" if other is None else f"{other:.2f}"
        times = "-" if other is None else f"{other / own:.2f}"
        without = "-" if slow is None else f"{slow:.2f}"
        print(f"{row['what']:8} {row['batch']:5} {own:9.2f} {theirs:>13} {times:>6} {without:>9}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7, help="median of so many (at least 5)")
    parser.add_argument(
        "--cpu", action="store_true", help="the processor's time, for busy machines"
    )
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    options = parser.parse_args()
    if options.repeats < 5:
        parser.error("--repeats: a median needs at least 5")
    if options.dim % 64:
        parser.error("--dim: heads have 64 dimensions, so it must be a multiple of 64")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    theirs, ours = models(options)
    if theirs is None:
        print("transformers is not installed (extra `peers`): no ratios to it")
    rows = [row for batch in options.batch for row in compare(theirs, ours, batch, options)]
    show(rows)
    if options.json:
        settings = {k: v for k, v in vars(options).items() if k != "json"}
        text = json.dumps({"settings": settings, "rows": rows}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
