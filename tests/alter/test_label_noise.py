"""Noise follows its law; only training rows change, whatever the way they are read."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from suexp.alter import LabelNoise
from suexp.alter._altered import Altered
from suexp.config.compose import resolve
from suexp.data.digits import Digits
from suexp.errors import UserError
from suexp.job.build import data_of
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run

ROWS = 60_000
CLASSES = {"num_classes": 3}


def noisy(kind: Any, rate: float, rows: int = ROWS) -> tuple[Any, Any]:
    label = np.arange(rows) % 3
    table = LabelNoise(rate, kind).apply(
        "train", pa.table({"label": label}), np.random.default_rng(0), CLASSES
    )
    return label, table


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        ("symmetric", [[0.7, 0.15, 0.15], [0.15, 0.7, 0.15], [0.15, 0.15, 0.7]]),
        ("pair", [[0.7, 0.3, 0], [0, 0.7, 0.3], [0.3, 0, 0.7]]),
    ],
)
def test_labels_follow_the_law(kind: Any, law: list[list[float]]) -> None:
    label, table = noisy(kind, 0.3)
    found = np.zeros((3, 3))
    np.add.at(found, (label, table["label"].to_numpy()), 3 / ROWS)
    np.testing.assert_allclose(found, law, atol=5 * (0.21 * 3 / ROWS) ** 0.5)


def test_it_says_what_it_did() -> None:
    label, table = noisy("symmetric", 0.5, 300)
    assert table["clean_label"].to_pylist() == label.tolist()
    assert table["noisy_label"].to_pylist() == table["label"].to_pylist()
    changed = label != table["label"].to_numpy()
    assert table["is_dirty"].to_pylist() == changed.tolist()
    assert 0.35 < changed.mean() < 0.65


def test_no_noise_changes_nothing() -> None:
    label, table = noisy("symmetric", 0.0, 300)
    assert table["label"].to_pylist() == label.tolist()
    assert not any(table["is_dirty"].to_pylist())


def test_only_training_rows_change_and_batches_say_so() -> None:
    plain, data = Digits(), Altered(Digits(), [LabelNoise(0.4, seed=3)])
    clean, splits = plain.splits(), data.splits()
    train = data.collate(splits["train"].__getitems__(list(range(1400))))
    assert train["clean_label"].tolist() == list(clean["train"]["label"])
    assert train["is_dirty"].float().mean() == pytest.approx(0.4, abs=0.05)
    assert (train["label"] != train["clean_label"]).tolist() == train["is_dirty"].tolist()
    np.testing.assert_array_equal(train["x"], np.stack(list(clean["train"]["x"])))
    held = data.collate(splits["validation"].__getitems__(list(range(100))))
    assert held["label"].tolist() == list(clean["validation"][:100]["label"])
    assert held["is_dirty"].any()
    # A part of the rows has the same labels, and the fingerprint tells of every argument.
    part = data.collate(splits["train"].select(range(7, 10)).__getitems__([0, 1, 2]))
    assert part["label"].tolist() == train["label"][7:10].tolist()
    kinds = [Altered(Digits(), [LabelNoise(**x)]) for x in ({}, {"rate": 0.3}, {"seed": 1})]
    kinds.append(Altered(Digits(num_train=1300), [LabelNoise()]))
    assert len({x.fingerprint() for x in [plain, *kinds]}) == 5
    assert data.batch_size == 64
    assert data.sizes == plain.sizes


def test_texts_keep_their_tokens() -> None:
    texts = ["task=classification", "data.tokenizer=bytes", "data.block_size=32"]
    plain, data = (data_of(resolve([*texts, f"alter={x}"]).config) for x in ("none", "label_noise"))
    before, after = (x.collate(x.splits()["train"].__getitems__([3, 8])) for x in (plain, data))
    assert after["tokens"].equal(before["tokens"])
    assert after["clean_label"].equal(before["label"])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["alter.label_noise.rate=1.5"], r"rate must lie in \[0, 1\], not 1.5"),
        (["alter.label_noise.kind=odd"], "kind: 'odd' is none of"),
        (["task=causal_lm", "model=transformer", "data=pydoc"], "alter=label_noise needs classes"),
    ],
)
def test_mistakes_are_told(more: list[str], said: str) -> None:
    digits = ["task=classification", "data=digits", "model=mlp", "alter=label_noise"]
    with pytest.raises(UserError, match=said):
        data_of(resolve([*digits, *more]).config)


@pytest.mark.slow
def test_a_run_learns_from_noisy_labels(tmp_path: Path) -> None:
    base = ["task=classification", "data=digits", "model=mlp", "trainer=cpu", "threads=1"]
    base += ["trainer.enable_progress_bar=false", "trainer.max_steps=100", f"out={tmp_path}"]
    noise = ["alter=label_noise", "alter.label_noise.kind=pair"]
    runs = {rate: [*base, *noise, f"alter.label_noise.rate={rate}"] for rate in (0, 1)}
    found = {rate: execute(spec_of(run)) for rate, run in runs.items()}
    assert found[0].metrics["val/accuracy"] > 0.85
    assert found[1].metrics["val/accuracy"] < 0.05  # it has learned the next class, to the letter
    assert len({Run(spec_of(run)).id for run in [*runs.values(), base]}) == 3
