import numpy as np
import pytest
import torch

from suexp.data.ring import Ring


def columns(data: Ring, split: str) -> dict[str, torch.Tensor]:
    dataset = data.splits()[split]
    return data.collate(dataset.__getitems__(list(range(len(dataset)))))


def test_points_are_normal_around_their_centres() -> None:
    data = Ring(num_train=20_000)
    train = columns(data, "train")
    assert train["x"].shape == (20_000, 2)
    assert (train["x"].dtype, train["label"].dtype) == (torch.float32, torch.int64)
    noise = train["x"] - torch.tensor(data.centres)[train["label"]]
    assert noise.std().item() == pytest.approx(0.1, rel=0.02)
    assert noise.mean(0).abs().max() < 0.003
    counts = torch.bincount(train["label"])
    assert len(counts) == 8
    assert counts.min() > 2300
    radii = torch.tensor(data.centres).norm(dim=1)
    torch.testing.assert_close(radii, torch.full((8,), 2.0))
    assert data.sizes == {"input_dim": 2, "num_classes": 8}


def test_splits_differ_and_depend_on_the_seed_alone() -> None:
    data = Ring(num_train=100, num_validation=100)
    train, validation = columns(data, "train")["x"], columns(data, "validation")["x"]
    assert not torch.equal(train, validation)
    torch.testing.assert_close(train, columns(Ring(num_train=100, batch_size=7), "train")["x"])
    assert not torch.equal(train, columns(Ring(num_train=100, seed=1), "train")["x"])
    assert Ring().fingerprint() == Ring(batch_size=3).fingerprint()
    others = [Ring(seed=1), Ring(std=0.2), Ring(num_modes=7), Ring(radius=1), Ring(num_train=5)]
    assert len({Ring().fingerprint(), *(other.fingerprint() for other in others)}) == 6


def test_rows_are_views() -> None:
    row = Ring(num_train=10).splits()["train"].__getitems__([3])[0]
    assert isinstance(row["x"], np.ndarray)
    assert row["x"].base is not None


@pytest.mark.parametrize("settings", [{"num_modes": 0}, {"std": 0.0}, {"batch_size": 0}])
def test_out_of_range(settings: dict) -> None:
    with pytest.raises(ValueError, match=rf"data.{next(iter(settings))}"):
        Ring(**settings)


def test_modes_have_the_weights_that_are_given() -> None:
    data = Ring(num_modes=2, radius=3, std=0.3, num_train=20_000, weights=[1.0, 4.0])
    label = columns(data, "train")["label"]
    assert label.double().mean().item() == pytest.approx(0.8, abs=0.01)
    assert data.law.weights.tolist() == pytest.approx([0.2, 0.8])
    assert data.law.means.tolist()[0] == [3.0, 0.0]
    assert (
        data.fingerprint() != Ring(num_modes=2, radius=3, std=0.3, num_train=20_000).fingerprint()
    )
    x = columns(data, "train")["x"].double()
    # The mean log-density of the points is minus their entropy: two modes far apart.
    entropy = np.log(2 * np.pi * np.e * 0.09) - 0.2 * np.log(0.2) - 0.8 * np.log(0.8)
    assert float(data.law.log_prob(x).mean()) == pytest.approx(-entropy, abs=0.03)


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [-1.0, 2.0]])
def test_weights_are_one_for_each_mode(weights: list[float]) -> None:
    with pytest.raises(ValueError, match=r"data\.weights"):
        Ring(num_modes=2, weights=weights)
