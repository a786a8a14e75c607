import pytest
import torch

from suexp.data.mixture2d import Mixture2D


def columns(data: Mixture2D, split: str) -> dict[str, torch.Tensor]:
    rows = data.splits()[split]
    return data.collate(rows.__getitems__(list(range(len(rows)))))


@pytest.mark.parametrize("kind", ["two_moons", "circles", "pinwheel"])
def test_draws(kind: str) -> None:
    data = Mixture2D(kind, num_train=500, num_validation=300)
    train, validation = columns(data, "train"), columns(data, "validation")
    assert train["x"].shape == (500, 2)
    assert validation["x"].shape == (300, 2)
    assert (train["x"].dtype, train["label"].dtype) == (torch.float32, torch.int64)
    assert not torch.equal(train["x"][:300], validation["x"])
    assert torch.equal(columns(Mixture2D(kind, 500, 300, batch_size=3), "train")["x"], train["x"])
    assert len(train["label"].unique()) == data.sizes["num_classes"]


def test_without_noise_they_lie_on_their_curves() -> None:
    circles = columns(Mixture2D("circles", noise=0.0), "train")
    torch.testing.assert_close(circles["x"].norm(dim=1), 1 / (1 + circles["label"].float()))
    moons = columns(Mixture2D("two_moons", noise=0.0), "train")
    centre = torch.tensor([[0.0, 0.0], [1.0, 0.5]])[moons["label"]]
    torch.testing.assert_close((moons["x"] - centre).norm(dim=1), torch.ones(2000))
    upper = moons["label"] == 0
    assert (moons["x"][upper, 1] >= 0).all()
    assert (moons["x"][~upper, 1] <= 0.5).all()


def test_fingerprint_is_of_the_draws() -> None:
    base = Mixture2D()
    assert base.fingerprint() == Mixture2D(batch_size=3).fingerprint()
    others = [Mixture2D(seed=1), Mixture2D(noise=0.1), Mixture2D("circles"), Mixture2D(num_train=9)]
    assert len({base.fingerprint(), *(data.fingerprint() for data in others)}) == 5


@pytest.mark.parametrize("settings", [{"num_train": 0}, {"noise": -1.0}, {"eval_batch_size": 0}])
def test_out_of_range(settings: dict) -> None:
    with pytest.raises(ValueError, match=f"data.{next(iter(settings))}"):
        Mixture2D(**settings)
