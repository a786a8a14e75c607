"""Parity with seqeval: micro F1 over spans of random rows, also of rows that no scheme allows."""

import random

import pytest
import torch

from suexp.nn.tag_scheme import Spans

metrics = pytest.importorskip("seqeval.metrics")

NAMES = {
    "sbie": ["S", "B", "I", "E"],
    "bio": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
    "bioes": ["O", *(f"{letter}-{kind}" for kind in ("PER", "LOC") for letter in "BIES")],
}


@pytest.mark.parametrize("scheme", NAMES)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.filterwarnings("ignore:.*seems not to be NE tag")
def test_f1_over_spans(scheme: str, seed: int) -> None:
    names, rng = NAMES[scheme], random.Random(seed)
    lengths = [rng.randint(1, 12) for _ in range(40)]
    wanted = [[rng.randrange(len(names)) for _ in range(n)] for n in lengths]
    found = [[y if rng.random() < 0.7 else rng.randrange(len(names)) for y in r] for r in wanted]
    mask = torch.arange(12) < torch.tensor(lengths)[:, None]

    def table(rows: list[list[int]]) -> torch.Tensor:
        return torch.tensor([row + [rng.randrange(len(names))] * (12 - len(row)) for row in rows])

    both, ours, theirs = Spans(scheme, names).count(table(found), table(wanted), mask).tolist()

    def words(rows: list[list[int]]) -> list[list[str]]:
        return [[names[y] for y in row] for row in rows]

    assert both / ours == pytest.approx(metrics.precision_score(words(wanted), words(found)))
    assert both / theirs == pytest.approx(metrics.recall_score(words(wanted), words(found)))
    f1 = metrics.f1_score(words(wanted), words(found))
    assert 2 * both / (ours + theirs) == pytest.approx(f1)
