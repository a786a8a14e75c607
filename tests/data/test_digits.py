import inspect

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from suexp.data.digits import Digits


def columns(data: Digits, split: str) -> dict[str, torch.Tensor]:
    dataset = data.splits()[split]
    return data.collate(dataset.__getitems__(list(range(len(dataset)))))


def test_every_digit_once_scaled() -> None:
    data = Digits(num_train=1300)
    train, validation = columns(data, "train"), columns(data, "validation")
    assert train["x"].shape == (1300, 64)
    assert validation["x"].shape == (497, 64)
    assert (train["x"].dtype, train["label"].dtype) == (torch.float32, torch.int64)
    assert train["x"].min() == 0
    assert train["x"].max() == 1
    pixels, labels = load_digits(return_X_y=True)
    found = torch.cat([train["x"], validation["x"]]).numpy() * 16
    both = torch.cat([train["label"], validation["label"]]).numpy()
    rows = np.concatenate([found, both[:, None]], axis=1)
    expected = np.concatenate([pixels, labels[:, None]], axis=1)
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])
    assert len(np.unique(train["label"])) == 10
    assert data.sizes == {"input_dim": 64, "num_classes": 10}


def test_symmetric_range() -> None:
    unit, symmetric = (columns(Digits(range=name), "train")["x"] for name in ("unit", "symmetric"))
    torch.testing.assert_close(symmetric, 2 * unit - 1)
    assert Digits(range="symmetric").fingerprint() != Digits().fingerprint()
    with pytest.raises(ValueError, match=r"data\.range must be unit or symmetric, not full"):
        inspect.unwrap(Digits.__init__)(Digits.__new__(Digits), range="full")


def test_split_depends_on_its_seed_alone() -> None:
    base = columns(Digits(), "validation")["x"]
    torch.testing.assert_close(base, columns(Digits(batch_size=3), "validation")["x"])
    assert not torch.equal(base, columns(Digits(split_seed=1), "validation")["x"])
    assert Digits().fingerprint() == Digits(batch_size=3, eval_batch_size=9).fingerprint()
    others = [Digits(split_seed=1), Digits(num_train=1300)]
    assert len({Digits().fingerprint(), *(data.fingerprint() for data in others)}) == 3


def test_patches_are_the_squares_of_the_image_row_by_row() -> None:
    whole = columns(Digits(num_train=20), "train")["x"].view(20, 8, 8)
    data = Digits(num_train=20, patch=2)
    patches = columns(data, "train")["x"]
    assert patches.shape == (20, 16, 4)
    for i in range(16):
        row, column = 2 * (i // 4), 2 * (i % 4)
        square = whole[:, row : row + 2, column : column + 2]
        torch.testing.assert_close(patches[:, i], square.flatten(1))
    assert data.sizes == {"vocab_size": 0, "input_dim": 4, "num_classes": 10}
    assert data.fingerprint() == Digits(num_train=20).fingerprint()


def test_fewer_rows_to_train_on_and_the_same_to_judge_by() -> None:
    whole, part = Digits(num_train=900), Digits(num_train=900, max_rows=150)
    first = columns(whole, "train")["x"][:150]
    assert torch.equal(columns(part, "train")["x"], first)
    assert torch.equal(columns(part, "validation")["x"], columns(whole, "validation")["x"])
    assert whole.fingerprint() != part.fingerprint()


@pytest.mark.parametrize(
    "settings",
    [
        {"num_train": 0},
        {"num_train": 1797},
        {"batch_size": 0},
        {"max_rows": 0},
        {"patch": 3},
        {"scale": 0.0},
    ],
)
def test_out_of_range(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"data.{next(iter(settings))}"):
        Digits(**settings)


def test_dequantised_pixels_keep_their_noise() -> None:
    data = Digits(dequantize=True, scale=4, split_seed=3)
    noisy = columns(data, "train")["x"] * 4
    plain = columns(Digits(split_seed=3), "train")["x"] * 16
    noise = noisy - plain
    assert noise.min() > -1e-5
    assert noise.max() < 1 + 1e-5
    assert noise.mean().item() == pytest.approx(0.5, abs=0.005)
    assert noise.var().item() == pytest.approx(1 / 12, abs=0.001)
    assert data.scale == 4
    assert Digits(scale=4).scale is None
    torch.testing.assert_close(columns(Digits(scale=4, split_seed=3), "train")["x"] * 4, plain)


def test_centred_by_the_training_rows() -> None:
    plain, centred = Digits(), Digits(center=True)
    mean = columns(plain, "train")["x"].mean(0)
    torch.testing.assert_close(
        columns(centred, "validation")["x"], columns(plain, "validation")["x"] - mean
    )
    choices = [plain, centred, Digits(dequantize=True), Digits(scale=4)]
    assert len({data.fingerprint() for data in choices}) == 4


def test_a_test_split_is_taken_from_validation() -> None:
    data, without = Digits(num_train=300, num_test=1197), Digits(num_train=300)
    parts = [columns(data, name)["x"] for name in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [300, 300, 1197]
    held = torch.cat(parts[1:])
    torch.testing.assert_close(held, columns(without, "validation")["x"])
    assert list(without.splits()) == ["train", "validation"]
    assert data.fingerprint() != without.fingerprint()
    with pytest.raises(ValueError, match=r"data\.num_test=1497: of 1797 rows 300"):
        Digits(num_train=300, num_test=1497)
