"""Retrieval: the nearest other sentence of every one of many, after encoding.

Ours, which multiplies each pair of blocks once, against the rows of the whole table and, where it
is installed, sentence-transformers' semantic_search. The contestants take turns; a ratio is that of
two medians, above 1 where ours is faster. Times are the clock's, or with --cpu the processor's.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from suexp.nn.nearest import nearest_other


def by_rows(vectors: Tensor, block: int = 1024) -> Tensor:
    """Return the same from whole rows of the table."""
    found = []
    for start in range(0, len(vectors), block):
        products = vectors[start : start + block] @ vectors.T
        rows = torch.arange(len(products))
        products[rows, rows + start] = -torch.inf
        found.append(products.argmax(1))
    return torch.cat(found)


def contestants() -> dict[str, Callable[[Tensor], Tensor]]:
    """Return what finds each vector's nearest other one."""
    found: dict[str, Callable[[Tensor], Tensor]] = {"suexp": nearest_other, "rows": by_rows}
    try:
        from sentence_transformers.util import dot_score, semantic_search
    except ImportError:
        return found

    def search(vectors: Tensor) -> Tensor:
        hits = semantic_search(vectors, vectors, top_k=2, score_function=dot_score)
        pairs = [[hit["corpus_id"] for hit in own] for own in hits]
        return torch.tensor([b if a == i else a for i, (a, b) in enumerate(pairs)])

    return {**found, "sentence-transformers": search}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sentences", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    vectors = F.normalize(torch.randn(options.sentences, options.dim), dim=-1)
    clock = time.process_time if options.cpu else time.perf_counter
    taking = contestants()
    times: dict[str, list[float]] = {name: [] for name in taking}
    answers: dict[str, Tensor] = {}
    for _ in range(options.repeats):
        for name, find in taking.items():
            began = clock()
            answers[name] = find(vectors)
            times[name].append(clock() - began)
    ours = statistics.median(times["suexp"])
    rows = []
    for name, found in answers.items():
        seconds = statistics.median(times[name])
        same = float((found == answers["suexp"]).float().mean())
        rows.append({"name": name, "seconds": seconds, "ratio": seconds / ours, "same": same})
        print(f"{name:22} {seconds:8.2f} s   ratio {seconds / ours:5.2f}   same {same:.4f}")
    if options.json:
        options.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
