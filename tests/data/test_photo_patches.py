from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from suexp.data.photo_patches import PhotoPatches


def columns(data: PhotoPatches, split: str) -> torch.Tensor:
    rows: Any = data.splits()[split]
    return data.collate(rows.__getitems__(list(range(len(rows)))))["x"]


SMALL: dict[str, Any] = {"num_train": 60, "num_validation": 30}


def test_patches_lie_in_their_part_of_the_photographs() -> None:
    data = PhotoPatches(6, colour=True, **SMALL)
    assert data.shape == (6, 6, 3)
    assert data.sizes == {"input_dim": 108}
    photos = np.stack(load_sample_images().images)
    windows = np.lib.stride_tricks.sliding_window_view(photos, (6, 6), (1, 2))
    for split, (first, last) in {"train": (0, 480), "validation": (480, 640)}.items():
        found = np.rint(columns(data, split).numpy() * 255).reshape(-1, 6, 6, 3)
        assert len(found) == {"train": 60, "validation": 30}[split]
        part = windows[:, :, first : last - 5]
        for patch in found[:5]:
            corner = (part[..., 0, 0] == patch[0, 0]).all(-1)
            candidates = part[corner].transpose(0, 2, 3, 1)
            assert (candidates == patch).all((1, 2, 3)).any()


def test_noise_and_range() -> None:
    base = columns(PhotoPatches(**SMALL), "train")
    assert base.shape == (60, 64)
    noisy = PhotoPatches(pixels="dequantized", **SMALL)
    noise = columns(noisy, "train") * 256 - base * 255
    assert noise.min() > -1e-3
    assert noise.max() < 1 + 1e-3
    assert noisy.scale == 256
    symmetric = columns(PhotoPatches(range="symmetric", **SMALL), "train")
    torch.testing.assert_close(symmetric, 2 * base - 1)


def test_draws_depend_on_the_seed_alone() -> None:
    base = PhotoPatches(**SMALL)
    assert base.fingerprint() == PhotoPatches(batch_size=3, **SMALL).fingerprint()
    other = PhotoPatches(split_seed=1, **SMALL)
    assert base.fingerprint() != other.fingerprint()
    assert not torch.equal(columns(base, "train"), columns(other, "train"))


@pytest.mark.parametrize(
    "settings", [{"size": 0}, {"size": 129}, {"num_train": 0}, {"pixels": "binary"}]
)
def test_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        PhotoPatches(**settings)
