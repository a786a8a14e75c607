import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from suexp.data.idx import Idx, read_idx
from suexp.errors import UserError
from tests.support.refusal import MiB, gzipped, said


def write(path: Path, array: np.ndarray, kind: int = 8, pack: bool = False) -> str:
    content = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content += array.tobytes()
    path.write_bytes(gzip.compress(content) if pack else content)
    return str(path)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (300, 3, 4)).astype("u1")


@pytest.fixture
def labels() -> np.ndarray:
    return (np.arange(300) % 7).astype("u1")


def columns(data: Idx, split: str) -> dict[str, Any]:
    rows = data.splits()[split]
    return data.collate(rows.__getitems__(list(range(len(rows)))))


@pytest.mark.parametrize("pack", [False, True])
def test_every_image_once_with_its_label(
    tmp_path: Path, pixels: np.ndarray, labels: np.ndarray, pack: bool
) -> None:
    data = Idx(
        write(tmp_path / "i", pixels, pack=pack),
        write(tmp_path / "l", labels, pack=pack),
        write(tmp_path / "ti", pixels[:5], pack=pack),
        write(tmp_path / "tl", labels[:5], pack=pack),
        val_fraction=0.2,
    )
    assert data.sizes == {"input_dim": 12, "num_classes": 7}
    assert data.shape == (3, 4)
    parts = [columns(data, split) for split in ("train", "validation")]
    assert 40 < len(parts[1]["x"]) < 80
    found = {
        tuple(np.rint(x * 255)): label
        for part in parts
        for x, label in zip(part["x"].numpy(), part["label"].tolist(), strict=True)
    }
    assert found == {tuple(p.ravel()): int(y) for p, y in zip(pixels, labels, strict=True)}
    test = columns(data, "test")
    torch.testing.assert_close(test["x"].numpy(), (pixels[:5].reshape(5, 12) / 255).astype("f4"))
    assert test["label"].tolist() == labels[:5].tolist()


def test_without_labels_there_are_none(tmp_path: Path, pixels: np.ndarray) -> None:
    data = Idx(write(tmp_path / "i", pixels))
    assert data.sizes == {"input_dim": 12}
    assert set(columns(data, "train")) == {"x"}


def test_an_image_keeps_its_split_when_others_come(tmp_path: Path, pixels: np.ndarray) -> None:
    few = columns(Idx(write(tmp_path / "few", pixels[:100])), "validation")["x"]
    many = columns(Idx(write(tmp_path / "many", pixels)), "validation")["x"]
    assert torch.equal(few, many[: len(few)])
    other = columns(Idx(write(tmp_path / "many", pixels), split_seed=1), "validation")["x"]
    assert not torch.equal(other[: len(few)], few)


def test_what_pixels_become(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "i", pixels)
    grays = columns(Idx(path, range="symmetric"), "train")["x"]
    assert grays.min() == -1
    assert grays.max() == 1
    gray = columns(Idx(path), "train")["x"] * 255
    torch.testing.assert_close(grays, gray / 127.5 - 1, atol=1e-6, rtol=0)
    data = Idx(path, pixels="dequantized")
    noise = columns(data, "train")["x"] * 256 - gray
    assert noise.min() > -1e-4
    assert noise.max() < 1 + 1e-4
    assert noise.mean().item() == pytest.approx(0.5, abs=0.02)
    assert data.scale == 256
    assert Idx(path, pixels="dequantized", range="symmetric").scale == 128
    assert Idx(path).scale is None
    again = columns(Idx(path, pixels="dequantized", batch_size=3), "train")["x"] * 256 - gray
    assert torch.equal(noise, again)
    binary = columns(Idx(path, pixels="binary"), "train")["x"]
    assert set(binary.unique().tolist()) == {0.0, 1.0}
    error = (binary - gray / 255).mean().item()
    assert error == pytest.approx(0, abs=0.03)


def test_fingerprint_is_of_contents_and_rows(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "i", pixels)
    base = Idx(path).fingerprint()
    assert Idx(path, batch_size=3).fingerprint() == base
    assert Idx(write(tmp_path / "same", pixels)).fingerprint() == base
    others = [Idx(path, range="symmetric"), Idx(path, pixels="binary"), Idx(path, split_seed=1)]
    others.append(Idx(write(tmp_path / "other", pixels[1:])))
    assert len({base, *(data.fingerprint() for data in others)}) == 5


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is not an IDX file: it begins with nothing"),
        (b"\x89PNG\r\n", "is not an IDX file: it begins with 89504e47"),
        (b"\0\0\x08\x03\0\0", "cannot be read"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "is damaged: its header says 5 numbers, 3 follow"),
        (b"\0\0\x08\x01\0\0\0\x01abc", "is damaged: its header says 1 numbers, more follow"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x05abcde", mtime=0)[:-9], "cannot be read"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, line: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match=line):
        read_idx(tmp_path / "file")


def test_other_types_of_numbers(tmp_path: Path) -> None:
    array = np.array([[1, -2], [3, 70000]], dtype=">i4")
    assert read_idx(Path(write(tmp_path / "a", array, kind=12))).tolist() == array.tolist()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"val_fraction": 0.0}, r"data.val_fraction must lie in \(0, 1\), not 0.0"),
        ({"batch_size": 0}, "data.batch_size must be at least 1, not 0"),
        ({"labels": "l", "test_images": "t"}, "data.test_labels is missing"),
    ],
)
def test_out_of_range(change: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Idx("i", **change)


def test_what_does_not_fit(tmp_path: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    images = write(tmp_path / "images-idx3-ubyte", pixels)
    short = write(tmp_path / "short", labels[:9])
    cases = [
        (Idx(images, short), "data.labels has 9 labels for 300 images"),
        (Idx(images, images), "holds no labels"),
        (Idx(short), "holds no images of bytes"),
        (Idx(images, test_images=write(tmp_path / "t", pixels[:, 1:])), "2 x 4 pixels.*3 x 4"),
        (Idx(), "data.images names no file"),
        (Idx(str(tmp_path / "imagse-idx3-ubyte")), "did you mean .*images-idx3-ubyte"),
        (Idx(images, val_fraction=1e-9), "leaves one of the splits empty"),
    ]
    for data, line in cases:
        with pytest.raises(UserError, match=line):
            data.splits()


def test_mnist(shared_data: Path) -> None:
    folder = shared_data / "mnist_t10k"
    data = Idx(str(folder / "t10k-images-idx3-ubyte.gz"), str(folder / "t10k-labels-idx1-ubyte.gz"))
    assert data.sizes == {"input_dim": 784, "num_classes": 10}
    sizes = {name: len(rows) for name, rows in data.splits().items()}
    assert sum(sizes.values()) == 10_000
    assert sizes["validation"] == pytest.approx(1000, abs=100)
    validation = columns(data, "validation")
    assert torch.bincount(validation["label"], minlength=10).min() > 60
    assert validation["x"].mean().item() == pytest.approx(0.13, abs=0.01)


def idx(shape: tuple[int, ...], content: bytes = b"", kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content


def test_an_idx_file_is_read_as_far_as_its_header_says(in_tmp: Path, small: None) -> None:
    Path("many").write_bytes(idx((2,) * 255))
    assert said(lambda: Idx("many").splits()) == ("many is damaged: its header says 255 dimensions")
    Path("huge").write_bytes(idx((2**32 - 1,) * 3, b"abc"))
    assert said(lambda: Idx("huge").splits()).endswith("too many for a file of 19 bytes")
    more = gzipped("more.gz", idx((60, 28, 28)), 20)
    assert said(lambda: read_idx(more)) == (
        "more.gz is damaged: its header says 60 x 28 x 28 numbers, more follow"
    )
    bomb = gzipped("bomb.gz", idx((20 * MiB // 784, 28, 28)), 20)
    assert "numbers, too many for a file of" in said(lambda: read_idx(bomb))
    Path("broken.gz").write_bytes(gzip.compress(idx((60, 28, 28)), mtime=0)[:20] + b"broken")
    assert "broken.gz cannot be read: " in said(lambda: read_idx(Path("broken.gz")))


def test_idx_labels_are_classes(in_tmp: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 2, 2)).astype("u1")
    Path("i").write_bytes(idx(pixels.shape, pixels.tobytes()))
    for last, kind, letter in ((2**31 - 1, 12, ">i4"), (-1, 9, "i1")):
        labels = np.array([0] * 59 + [last]).astype(letter)
        Path("l").write_bytes(idx((60,), labels.tobytes(), kind))
        assert "classes are numbered from 0, here up to 9999" in said(
            lambda: Idx("i", "l").splits()
        )
        assert "classes are numbered from 0" in said(lambda: Idx("i", "l").sizes)
    Path("l").write_bytes(idx((60,), bytes(60)))
    assert "all training rows have the label 0" in said(lambda: Idx("i", "l").splits())
