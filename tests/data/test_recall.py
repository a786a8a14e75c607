from typing import Any

import pytest
import torch

from suexp.data.recall import Recall


def batch(data: Recall, *numbers: int) -> dict[str, torch.Tensor]:
    return data.collate([{"index": number} for number in numbers])


def test_the_label_is_that_of_the_nearest_key() -> None:
    data = Recall(length=20, noise=0.1)
    drawn = batch(data, 3, 4, 5, 900)
    x, label = drawn["x"], drawn["label"]
    assert x.shape == (4, 21, 32)
    assert x.dtype == torch.float32
    keys, query = x[:, :-1, :16], x[:, -1, :16]
    nearest = (keys - query[:, None]).norm(dim=-1).argmin(-1)
    labels = x[:, :-1, 16:]
    assert (labels.sum(-1) == 1).all()
    assert torch.equal(labels[torch.arange(4), nearest].argmax(-1), label)
    assert (x[:, -1, 16:] == 0).all()
    offset = (keys[torch.arange(4), nearest] - query).norm(dim=-1) / 4
    assert offset.mean() == pytest.approx(0.1, rel=0.3)


def test_a_text_is_drawn_from_its_number_alone() -> None:
    data = Recall()
    assert torch.equal(batch(data, 7)["x"][0], batch(data, 3, 7)["x"][1])
    assert not torch.equal(batch(Recall(seed=1), 7)["x"], batch(data, 7)["x"])


def test_splits_share_no_text_and_validation_does_not_depend_on_training() -> None:
    splits = Recall(num_train=10, num_validation=4).splits()
    numbers = {name: [int(row["index"]) for row in rows] for name, rows in splits.items()}
    assert numbers == {"train": list(range(4, 14)), "validation": [0, 1, 2, 3]}
    assert Recall().fingerprint() != Recall(length=33).fingerprint()


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"length": 0}, "data.length must be at least 1"), ({"noise": -1.0}, "must not be negative")],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recall(**changes)
