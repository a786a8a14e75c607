"""Codes of words: those of a bag of one word, and who is near by them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import suexp
from suexp.config.compose import resolve
from suexp.data.ngram_bags import NgramBags
from suexp.errors import UserError
from suexp.model import HashBio, HashLsh
from suexp.nn.hashing import Bag
from suexp.task.word_hashing import WordHashing

BASE = [
    *("task=word_hashing", "task.num_words=60", "task.svd_dim=20", "data.vocab_size=100"),
    *("data.max_rows=4000", "model.num_units=40", "loss.max_normalised=true", "threads=1"),
    *("optimizer.momentum=0", "optimizer.lr=0.02", "scheduler.warmup=0", "scheduler.final_ratio=0"),
    *("trainer.gradient_clip_val=null", "trainer.enable_progress_bar=false"),
]


@pytest.fixture(scope="module")
def data() -> NgramBags:
    return NgramBags(vocab_size=100, max_rows=4000)


def made(data: NgramBags, model: Any, **arguments: Any) -> WordHashing:
    parts = {"loss": None, "optimizer": None, "scheduler": None, "data": data}
    return WordHashing(num_words=60, svd_dim=20, model=model, **parts, **arguments)


def test_a_static_code_is_that_of_an_empty_context(data: NgramBags) -> None:
    model = HashBio(200, num_bits=5, num_units=30, start="normal")
    task = made(data, model)
    found = task.codes([0, 7, 99])
    # The word, and two places of padding.
    places = torch.tensor([[0, 0, 100], [0, 0, 107], [0, 0, 199]])
    keep = torch.tensor([[False, False, True]] * 3)
    assert torch.equal(found, model.encode(Bag(places, keep, keep.float())))


def test_a_static_code_is_that_of_the_paper_s_package(data: NgramBags) -> None:
    """As flyvec computes it: a threshold between the k-th and the next score of W's column."""
    model = HashBio(200, num_bits=5, num_units=30, start="normal")
    synapses = model.weight.detach().numpy()
    for word in (3, 42):
        scores = synapses[:, 100 + word]
        ordered = scores[np.argsort(-scores)]
        wanted = scores > (ordered[4] + ordered[5]) / 2
        assert made(data, model).codes([word])[0].tolist() == wanted.tolist()


def test_contexts_are_the_word_s_counts(data: NgramBags) -> None:
    rows = made(data, HashLsh(200), words="contexts").input_of([5, 6])
    assert isinstance(rows, torch.Tensor)
    counts = data.context_counts("train").toarray()
    np.testing.assert_array_equal(rows[:, :100].numpy(), counts[[5, 6]])
    assert not rows[:, 100:].any()


def test_many_signs_of_components_find_what_components_find(data: NgramBags) -> None:
    """With enough random bits the angle between codes is that between vectors."""
    torch.manual_seed(0)
    task = made(data, HashLsh(200, num_bits=100_000), words="svd")
    found = task.found()
    assert float(found["neighbours"]) == pytest.approx(found["svd_neighbours"], abs=0.02)
    assert found["spearman"] == pytest.approx(found["svd_spearman"], abs=0.01)
    assert found["svd_neighbours"] > 1.5 * found["chance_neighbours"]
    assert found["chance_neighbours"] == pytest.approx(10 / 59)


def test_it_learns_and_names_neighbours(tmp_path: Path) -> None:
    steps = ["trainer.max_steps=60", "trainer.val_check_interval=30", "task.shown=[class,the]"]
    found = suexp.run([*BASE, *steps, f"out={tmp_path}"])
    assert (found.error, found.status) == (None, "finished")
    history = [row["val/train_energy"] for row in found.history() if "val/train_energy" in row]
    assert history[-1] < history[0] < 0
    assert 0 < found.metrics["val/neighbours"] < 1
    assert 0 < found.metrics["val/alive"] <= 1


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        (["task.shown=[fly]"], "task.shown: 'fly' is not among the 60 most frequent words"),
        (["task.num_words=101"], "task.num_words=101: the text has 100 words; set task.num_words="),
        (["task.svd_dim=60"], "task.svd_dim=60 must be below num_words=60"),
        (["model.num_units=4001"], "4001 units cannot begin at 4000 training rows"),
    ],
)
def test_what_cannot_be_measured_is_one_line(extra: list[str], line: str, tmp_path: Path) -> None:
    found = suexp.run([*BASE, "trainer.max_steps=1", *extra, f"out={tmp_path}"])
    assert found.mistake
    assert line in str(found.error)


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        (["task.words=all"], "'all' is none of 'static', 'contexts', 'svd'"),
        (["task.num_words=10"], "task.num_words must be above neighbours=10, not 10"),
        (["data=digits"], "task=word_hashing needs bags"),
    ],
)
def test_what_cannot_be_is_refused(extra: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        resolve(["task=word_hashing", *extra])
