import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from suexp.data import bounds
from suexp.data.images import Images
from suexp.errors import UserError
from tests.support.refusal import said


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


def png(width: int, height: int) -> bytes:
    """Return the head of a picture, which has no pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"")
    parts = [
        struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in (head, body)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_pictures_are_measured_before_they_are_read(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for width, expected in (
        (30_000, "has over 10^8 pixels; make it smaller: mogrify -resize 64x64! NAME"),
        (10_000, "is 10000 x 10000 pixels; make it smaller: mogrify -resize 64x64! NAME"),
        (5_000, "is 5000 x 5000 pixels; make it smaller: mogrify -resize 64x64! NAME"),
    ):
        Path("a.png").write_bytes(png(width, width))
        assert said(lambda: Images("*.png").splits()).startswith(f"a.png {expected}")
    for name in ("a.png", "b.png"):
        Image.new("L", (16, 16)).save(name)
    monkeypatch.setattr(bounds, "PICTURES", 500)
    assert "2 pictures of 16 x 16 pixels are more than the 500 bytes" in said(
        lambda: Images("*.png").splits()
    )


def pixels(name: str, **settings: Any) -> np.ndarray:
    """Return what becomes of a picture, as bytes."""
    return Images(name, **settings)._read(Path(name))


def test_sixteen_bits_are_scaled(in_tmp: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(values).save("a.png")
    assert pixels("a.png").tolist() == [[0, 0, 1, 1, 128, 255]]
    assert pixels("a.png", colour=True)[0, :, 2].tolist() == [0, 0, 1, 1, 128, 255]


def test_a_camera_s_orientation_counts(in_tmp: Path) -> None:
    picture = Image.fromarray(np.array([[0, 10, 20], [30, 40, 50]], dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture.save("a.png", exif=exif)
    data = Images("a.png")
    assert data.shape == (3, 2)
    assert pixels("a.png").tolist() == [[30, 0], [40, 10], [50, 20]]


def test_what_one_picture_does_not_show(in_tmp: Path) -> None:
    clear = np.full((2, 2, 4), 255, dtype=np.uint8)
    Image.fromarray(clear).save("a.png")
    assert pixels("a.png").tolist() == [[255, 255], [255, 255]]
    clear[0, 0, 3] = 254
    Image.fromarray(clear).save("b.png")
    assert "b.png is transparent in places; give it a back" in said(lambda: pixels("b.png"))
    frames = [Image.new("L", (2, 2), value) for value in (0, 255)]
    frames[0].save("c.gif", save_all=True, append_images=frames[1:])
    assert "c.gif is an animation" in said(lambda: pixels("c.gif"))
    Path("d.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert "d.png cannot be read as an image" in said(lambda: pixels("d.png"))


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    for shade, name in enumerate(("dogs", "cats", ".trash")):
        for part, count in (("train", 20), ("test", 3)):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                picture = np.full((2, 2), 100 * shade + i, "u1")
                Image.fromarray(picture).save(tmp_path / part / name / f"{i}.png")
    settings: Any = {"test_files": str(tmp_path / "test"), "labelled": True, "val_fraction": 0.3}
    data = Images(str(tmp_path / "train"), **settings)
    assert data.sizes == {"input_dim": 4, "num_classes": 2}
    assert data.label_names == ["cats", "dogs"]
    rows: Any = data.splits()
    for split, count in (("train", None), ("validation", None), ("test", 6)):
        batch = data.collate(rows[split].__getitems__(list(range(len(rows[split])))))
        assert ((batch["x"][:, 0] * 255 < 50) == (batch["label"] == 1)).all()
        assert count in (None, len(batch["x"]))
    assert sum(map(len, rows.values())) == 46


def test_what_labelled_folders_are_not(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    folder = str(tmp_path)
    assert said(lambda: Images(folder).splits()).endswith(
        "file; for a folder a class set data.labelled=true"
    )
    assert "holds no folders of pictures, one for each class" in said(
        lambda: Images(f"{folder}/one", labelled=True).splits()
    )
    assert said(lambda: Images(folder, labelled=True).splits()).startswith(
        "all training rows have the label 'one'"
    )
    (tmp_path / "all").mkdir()
    for name in ("one", "two"):
        fill(tmp_path / "all" / name, 10)
    settings: Any = {"test_files": folder, "labelled": True}
    (tmp_path / "one").rename(tmp_path / "three")
    line = said(lambda: Images(f"{folder}/all", **settings).splits())
    assert line.endswith("000.png is of the class 'three', which data.files has not")
