import numpy as np
import pytest
import torch

from suexp.data.sklearn import SIZES, Sklearn
from suexp.data.vectors import stratified, whitened, whitening


def arrays(rows):
    return np.stack(rows["x"]), np.array(rows["label"])


CLASSES = [name for name, (_, classes) in SIZES.items() if classes]


@pytest.mark.parametrize("name", CLASSES)
def test_sizes_and_shares(name):
    data = Sklearn(name=name)
    splits = data.splits()
    train, held = (arrays(splits[split][:]) for split in ("train", "validation"))
    assert train[0].shape[1] == data.sizes["input_dim"] == SIZES[name][0]
    assert train[0].dtype == np.float32
    assert len(held[0]) / (len(held[0]) + len(train[0])) == pytest.approx(0.25, abs=0.011)
    shares = [np.bincount(label) / len(label) for _, label in (train, held)]
    assert len(shares[0]) == data.sizes["num_classes"]
    np.testing.assert_allclose(*shares, atol=0.02)


def test_training_rows_are_white():
    for name in CLASSES:
        for whiten in ("total", "standard", "within"):
            x, label = arrays(Sklearn(name=name, whiten=whiten).splits()["train"][:])
            x = x.astype(np.float64)
            np.testing.assert_allclose(x.mean(0), 0, atol=1e-5)
            if whiten == "within":
                means = np.stack([x[label == c].mean(0) for c in np.unique(label)])
                x = x - means[label]
            covariance = x.T @ x / len(x)
            kept = np.diag(covariance) > 0.5
            assert kept.sum() > 0.8 * len(kept)
            assert (np.abs(covariance[~kept]) < 1e-6).all()
            if whiten == "standard":
                np.testing.assert_allclose(np.diag(covariance)[kept], 1, atol=1e-4)
            else:
                np.testing.assert_allclose(
                    covariance[np.ix_(kept, kept)], np.eye(kept.sum()), atol=1e-3
                )


def test_raw_rows_are_scikit_learns():
    from sklearn.datasets import load_iris

    x, label = load_iris(return_X_y=True)
    data = Sklearn(name="iris", whiten="none").splits()
    rows = np.concatenate([arrays(data[split][:])[0] for split in ("train", "validation")])
    np.testing.assert_allclose(np.sort(rows, 0), np.sort(x, 0), rtol=1e-6)
    kept, held = stratified(label, 0.25, "iris/0")
    assert sorted(kept + held) == list(range(150))
    np.testing.assert_allclose(arrays(data["train"][:])[0], x[kept], rtol=1e-6)


def test_seeds_split_differently_and_for_good():
    data = {seed: Sklearn(name="wine", split_seed=seed) for seed in (0, 1)}
    assert data[0].fingerprint() != data[1].fingerprint()
    assert data[0].fingerprint() == Sklearn(name="wine").fingerprint()
    first, second = (arrays(item.splits()["validation"][:])[0] for item in data.values())
    assert not np.array_equal(first, second)


def test_some_columns():
    data = Sklearn(name="iris", columns=[2, 0], whiten="none")
    assert data.sizes == {"input_dim": 2, "num_classes": 3}
    whole = Sklearn(name="iris", whiten="none").splits()["train"][:]["x"]
    np.testing.assert_array_equal(
        np.stack(data.splits()["train"][:]["x"]), np.stack(whole)[:, [2, 0]]
    )


def test_a_batch():
    data = Sklearn(name="wine")
    batch = data.collate(data.splits()["train"].__getitems__([0, 5, 2]))
    assert batch["x"].shape == (3, 13)
    assert batch["label"].shape == (3,)


def test_numbers_instead_of_labels():
    from sklearn.datasets import load_diabetes

    x, target = load_diabetes(return_X_y=True)
    data = Sklearn(name="diabetes", whiten="none", val_fraction=0.2)
    assert data.sizes == {"input_dim": 10}
    splits = data.splits()
    assert [len(splits[split]) for split in ("train", "validation")] == [354, 88]
    train = data.collate(splits["train"].__getitems__(list(range(354))))
    assert (train["target"].dtype, train["target"].shape) == (torch.float32, (354,))
    assert [*train] == ["x", "target"]
    assert train["target"].mean().item() == pytest.approx(0, abs=1e-6)
    assert train["target"].std(correction=0).item() == pytest.approx(1, abs=1e-6)
    both = np.concatenate([np.stack(splits[split][:]["x"]) for split in splits])
    answers = np.concatenate([np.array(splits[split][:]["target"]) for split in splits])
    wanted = {tuple(np.float32(row)): value for row, value in zip(x, target, strict=True)}
    raw = np.array([wanted[tuple(row)] for row in both])
    assert np.corrcoef(raw, answers)[0, 1] == pytest.approx(1, abs=1e-6)


def test_fewer_rows_to_train_on_and_the_same_to_judge_by():
    for name in ("breast_cancer", "diabetes"):
        whole, part = (Sklearn(name=name, max_rows=n, whiten="none") for n in (None, 200))
        assert len(part.splits()["train"]) == 200
        kept, all_rows = ({tuple(x) for x in d.splits()["train"][:]["x"]} for d in (part, whole))
        assert kept < all_rows
        held = [np.stack(d.splits()["validation"][:]["x"]) for d in (part, whole)]
        np.testing.assert_array_equal(*held)
        assert part.fingerprint() != whole.fingerprint()
    shares = np.bincount(Sklearn(max_rows=200).splits()["train"][:]["label"]) / 200
    assert shares[1] == pytest.approx(0.627, abs=0.1)  # not the first rows of a sorted table


def test_a_class_keeps_a_row_for_training():
    kept, held = stratified([0, 1, 1, 1], 0.9, "x")
    assert sorted(kept + held) == [0, 1, 2, 3]
    assert 0 in kept
    assert len(held) == 2


def test_directions_without_variance_become_zero():
    x = np.array([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]])
    for how in ("total", "standard"):
        white = whitened(x, *whitening(x, np.zeros(3), how))
        assert np.isfinite(white).all()
        assert sorted(white.std(0)) == pytest.approx([0, 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 0.0}, "data.val_fraction must lie between 0 and 1, not 0.0"),
        ({"max_rows": 0}, "data.max_rows must be at least 1, not 0"),
        ({"name": "diabetes", "whiten": "within"}, "diabetes has no classes"),
        ({"batch_size": 0}, "data.batch_size must be at least 1, not 0"),
        ({"name": "iris", "columns": [4]}, "different numbers from 0 to 3"),
        ({"name": "iris", "columns": []}, "different numbers from 0 to 3"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        Sklearn(**options)
