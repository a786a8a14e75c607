from typing import Any

import numpy as np
import pytest
import torch

from suexp.data.plane_waves import PlaneWaves


def columns(data: PlaneWaves, split: str) -> dict[str, torch.Tensor]:
    rows: Any = data.splits()[split]
    return data.collate(rows.__getitems__(list(range(len(rows)))))


SMALL: dict[str, Any] = {"num_train": 300, "num_validation": 100}


def test_a_wave_alone_solves_its_equations() -> None:
    """u(x + 1) + u(x - 1) = 2 cos(k_x) u(x), and so along y: neighbours follow linearly."""
    data = PlaneWaves(noise=0, second=0, **SMALL)
    batch = columns(data, "train")
    u = batch["x"].view(-1, 16, 16).double()
    k = torch.tensor(data.vectors)[batch["label"]]
    torch.testing.assert_close(
        u[:, :, 2:] + u[:, :, :-2], 2 * k[:, :1, None].cos() * u[:, :, 1:-1], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        u[:, 2:] + u[:, :-2], 2 * k[:, 1:, None].cos() * u[:, 1:-1], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        k.norm(dim=1), torch.tensor([0.55, 0.85])[batch["label"] % 2].to(k), rtol=1e-6, atol=0
    )


def test_variance_and_classes() -> None:
    data = PlaneWaves(num_train=4000, num_validation=10)
    batch = columns(data, "train")
    # 1/2 of the first wave, 1/8 of the second, 0.49 of the noise: the spec's 1.114.
    assert batch["x"].var().item() == pytest.approx(1.115, abs=0.01)
    assert torch.bincount(batch["label"]).min() > 270
    assert data.sizes == {"input_dim": 256, "num_classes": 12}


def test_classes_can_be_told_apart() -> None:
    """By the spectrum, whatever the phases; two of them would be one if angles filled a circle."""
    data = PlaneWaves(num_train=1000, num_validation=400)
    batch = columns(data, "validation")
    y, x = np.indices((16, 16)).reshape(2, -1)
    waves = np.exp(-1j * (np.array(data.vectors) @ np.stack([x, y])))
    power = np.abs(batch["x"].numpy() @ waves.T)
    assert (power.argmax(1) == batch["label"].numpy()).mean() > 0.97


def test_fewer_rows_are_the_first_and_validation_stays() -> None:
    data, few = PlaneWaves(**SMALL), PlaneWaves(max_rows=10, **SMALL)
    assert torch.equal(columns(few, "train")["x"], columns(data, "train")["x"][:10])
    assert torch.equal(columns(few, "validation")["x"], columns(data, "validation")["x"])
    other = PlaneWaves(seed=1, **SMALL)
    assert not torch.equal(columns(other, "train")["x"], columns(data, "train")["x"])
    assert data.fingerprint() == PlaneWaves(batch_size=3, **SMALL).fingerprint()
    assert len({d.fingerprint() for d in (data, few, other)}) == 3


@pytest.mark.parametrize("settings", [{"num_classes": 1}, {"size": 0}, {"noise": -1.0}])
def test_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"data.{next(iter(settings))}"):
        PlaneWaves(**settings)
