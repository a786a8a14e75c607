from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from suexp.data.images import Images
from suexp.errors import UserError


def fill(folder: Path, count: int = 40, size: tuple[int, int] = (5, 4)) -> np.ndarray:
    """Write pictures of width x height random colours, and return their bytes."""
    folder.mkdir()
    shape = (count, size[1], size[0], 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype("u1")
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{i:03}.png")
    return pixels


def columns(data: Images, split: str) -> torch.Tensor:
    rows: Any = data.splits()[split]
    return data.collate(rows.__getitems__(list(range(len(rows)))))["x"]


def test_every_picture_once(tmp_path: Path) -> None:
    pixels = fill(tmp_path / "a")
    (tmp_path / "a" / "notes.txt").write_text("not a picture")
    data = Images(str(tmp_path / "a"), colour=True, val_fraction=0.3)
    assert data.shape == (4, 5, 3)
    assert data.sizes == {"input_dim": 60}
    parts = [columns(data, split) for split in ("train", "validation")]
    assert min(map(len, parts)) > 3
    found = {tuple(np.rint(x * 255)) for part in parts for x in part.numpy()}
    assert found == {tuple(p.ravel()) for p in pixels}


def test_luminance_noise_and_range(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    folder = str(tmp_path / "a")
    gray = columns(Images(folder, test_files=f"{folder}/00*.png"), "test")
    with Image.open(tmp_path / "a" / "000.png") as picture:
        expected = np.asarray(picture.convert("L")).ravel()
    np.testing.assert_allclose(gray[0] * 255, expected, atol=1e-4)
    assert len(gray) == 10
    base = columns(Images(folder), "train")
    noisy = Images(folder, pixels="dequantized", range="symmetric")
    noise = (columns(noisy, "train") + 1) * 128 - base * 255
    assert noise.min() > -1e-3
    assert noise.max() < 1 + 1e-3
    assert noisy.scale == 128


def test_fingerprint_is_of_contents(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    folder = str(tmp_path / "a")
    base = Images(folder).fingerprint()
    assert Images([f"{folder}/*.png"], batch_size=3).fingerprint() == base
    others = [Images(folder, colour=True), Images(folder, split_seed=1)]
    assert base not in {data.fingerprint() for data in others}
    Image.new("RGB", (5, 4)).save(tmp_path / "a" / "new.png")
    assert Images(folder).fingerprint() != base


def test_another_size_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    Image.new("L", (7, 4)).save(tmp_path / "a" / "017b.png")
    with pytest.raises(UserError, match=r"017b.png is 7 x 4 pixels, but .*000.png is 5 x 4"):
        Images(str(tmp_path / "a")).splits()


def test_what_cannot_be_read(tmp_path: Path) -> None:
    fill(tmp_path / "a", 3)
    (tmp_path / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    with pytest.raises(UserError, match=r"broken.png cannot be read as an image"):
        Images(str(tmp_path / "a")).splits()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no .png, .jpg"):
        Images(str(tmp_path / "empty")).splits()
    with pytest.raises(UserError, match=r"data.files names no file; give it a folder"):
        Images().splits()
    with pytest.raises(UserError, match=r"data.files: no file .*/emty; did you mean .*/empty\?"):
        Images(str(tmp_path / "emty")).splits()


def test_a_split_is_never_empty(tmp_path: Path) -> None:
    fill(tmp_path / "a", 3)
    with pytest.raises(UserError, match="leaves one of the splits empty"):
        Images(str(tmp_path / "a"), val_fraction=1e-9).splits()


@pytest.mark.parametrize("settings", [{"val_fraction": 1.0}, {"batch_size": 0}])
def test_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"data.{next(iter(settings))}"):
        Images(**settings)
