"""Images in MNIST's own file format."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, ClassVar, Literal

from suexp.contents import content_hash
from suexp.data import bounds
from suexp.data.base import Data
from suexp.data.cache import cached
from suexp.data.document import refuse_single, share
from suexp.data.paths import found_files
from suexp.errors import UserError, at_least

# Third byte of the file -> NumPy's name of the numbers, which are big-endian.
TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
DIMENSIONS = 8  # at most; NumPy has 64
CLASSES = 10_000  # a larger label is a number of something else, unless there are as many rows
CHUNK = 4096  # rows held as floats at once


class Idx(Data):
    r"""Images of local IDX files, gzip or not, as vectors: $x = pixels / 255$, and labels.

    A batch holds ``x`` (B, rows * columns), float32, and with a file of labels ``label`` (B,). With
    no validation share of its own the format leaves the split to us: images are held out by a hash
    of their pixels, so that equal ones stay together.

    Reference: LeCun, Cortes and Burges, The MNIST database of handwritten digits, and its format,
    http://yann.lecun.com/exdb/mnist/. Fixed binarisation: Salakhutdinov and Murray, On the
    quantitative analysis of deep belief networks, https://doi.org/10.1145/1390156.1390266.

    Args:
        images: the training images, for example train-images-idx3-ubyte.gz.
        labels: their labels; null: none.
        test_images: images of a test split; null: no such split.
        test_labels: their labels, where the training images have some.
        val_fraction: share of the training images held out for validation, in (0, 1).
        pixels: ``gray``, $p/255$; ``dequantized``, $(p+u)/256$ with u uniform in [0, 1), drawn once
            for each image by ``split_seed``; ``binary``, 1 with probability $p/255$, drawn so too.
        range: ``unit``, x in [0, 1]; ``symmetric``, $2x - 1$.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        split_seed: which images are held out, and the draws of ``pixels``.

    Raises:
        ValueError: a value out of range.
        UserError: a file that is missing, cut short or of another format or size.
    """

    provides: ClassVar[set[str]] = {
        "vectors",
        "images",
        "labels if labels",
        "discrete if pixels=gray",
        "binary if pixels=binary",
    }

    def __init__(
        self,
        images: str | None = None,
        labels: str | None = None,
        test_images: str | None = None,
        test_labels: str | None = None,
        val_fraction: float = 0.1,
        pixels: Literal["gray", "dequantized", "binary"] = "gray",
        range: Literal["unit", "symmetric"] = "unit",
        batch_size: int = 64,
        eval_batch_size: int = 512,
        split_seed: int = 0,
    ) -> None:
        if not 0 < val_fraction < 1:
            raise ValueError(f"data.val_fraction must lie in (0, 1), not {val_fraction}")
        if pixels not in ("gray", "dequantized", "binary"):
            raise ValueError(f"data.pixels must be gray, dequantized or binary, not {pixels}")
        if range not in ("unit", "symmetric"):
            raise ValueError(f"data.range must be unit or symmetric, not {range}")
        at_least(1, "data", batch_size=batch_size, eval_batch_size=eval_batch_size)
        if labels and test_images and not test_labels:
            raise ValueError("data.test_labels is missing: the training images have labels")
        self.files = {"images": images}
        self.files |= {"labels": labels} if labels else {}
        self.files |= {"test_images": test_images} if test_images else {}
        self.files |= {"test_labels": test_labels} if labels and test_labels else {}
        self.val_fraction, self.split_seed = val_fraction, split_seed
        self.pixels, self.range = pixels, range
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        if pixels == "dequantized":
            self.scale = 256.0 if range == "unit" else 128.0

    def _path(self, name: str) -> Path:
        found = found_files(f"data.{name}", self.files[name])
        if len(found) > 1:
            raise UserError(f"data.{name} names {len(found)} files; name one")
        return found[0]

    def reads(self) -> list[Path]:
        """Return the files of images and labels."""
        return [self._path(name) for name in self.files]

    def _images(self, name: str) -> Any:
        images = read_idx(self._path(name))
        if images.ndim < 2 or images.dtype.str[1:] != "u1":
            raise UserError(f"data.{name}: {self._path(name)} holds no images of bytes")
        return images

    def _labels(self, name: str, rows: int) -> Any:
        labels = read_idx(self._path(name))
        if labels.ndim != 1 or labels.dtype.kind == "f":
            raise UserError(f"data.{name}: {self._path(name)} holds no labels")
        if len(labels) != rows:
            raise UserError(f"data.{name} has {len(labels)} labels for {rows} images")
        most = max(rows, CLASSES)
        if rows and not 0 <= labels.min() <= labels.max() < most:
            raise UserError(
                f"data.{name}: {self._path(name)} has labels from {labels.min()} to "
                f"{labels.max()}; classes are numbered from 0, here up to {most - 1}"
            )
        if name == "labels":
            refuse_single({*labels.tolist()})
        return labels.astype("int64")

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns of an image."""
        return header(self._path("images"))[1][1:]

    def splits(self) -> dict[str, Any]:
        """Return train, validation and, where there are such images, test."""
        from suexp.data.rows import open_rows

        folder = cached(f"idx-{self.fingerprint()[:20]}", self._prepare)
        names = ["train", "validation", *(["test"] if "test_images" in self.files else [])]
        return {
            name: open_rows(folder / f"{name}.arrow", f"{folder.name}-{name}") for name in names
        }

    def _prepare(self, folder: Path) -> None:
        import numpy as np

        images = self._images("images")
        labels = self._labels("labels", len(images)) if "labels" in self.files else None
        held = np.array(
            [
                share(image.tobytes().hex(), f"idx/{self.split_seed}") < self.val_fraction
                for image in images
            ],
            dtype=bool,
        )
        if held.all() or not held.any():
            raise UserError(
                f"data.val_fraction={self.val_fraction} of {len(images)} images leaves one of the "
                "splits empty"
            )
        parts = {"train": np.flatnonzero(~held), "validation": np.flatnonzero(held)}
        for name, rows in parts.items():
            self._write(folder, name, images[rows], None if labels is None else labels[rows])
        if "test_images" in self.files:
            test = self._images("test_images")
            if test.shape[1:] != images.shape[1:]:
                sizes = [" x ".join(map(str, part.shape[1:])) for part in (test, images)]
                raise UserError(f"data.test_images: {sizes[0]} pixels, but images has {sizes[1]}")
            known = "test_labels" in self.files
            self._write(
                folder, "test", test, self._labels("test_labels", len(test)) if known else None
            )

    def _write(self, folder: Path, name: str, images: Any, labels: Any) -> None:
        import numpy as np

        from suexp.data.rows import write_rows

        seed = int(share(name, f"idx/pixels/{self.split_seed}") * 2**63)
        generator = np.random.default_rng(seed)

        def tables() -> Any:
            for start in np.arange(0, len(images), CHUNK):
                pixels = images[start : start + CHUNK].reshape(-1, math.prod(images.shape[1:]))
                table = {"x": self._scaled(pixels, generator)}
                if labels is not None:
                    table["label"] = labels[start : start + CHUNK]
                yield table

        write_rows(folder / f"{name}.arrow", tables())

    def _scaled(self, pixels: Any, generator: Any) -> Any:
        """Return x (rows, width) of a chunk of pixels."""
        if self.pixels == "gray":
            x = pixels / 255.0
        elif self.pixels == "binary":
            x = (generator.random(pixels.shape) < pixels / 255.0).astype("float64")
        else:
            x = (pixels + generator.random(pixels.shape)) / 256
        return (2 * x - 1 if self.range == "symmetric" else x).astype("float32")

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch of these rows."""
        import numpy as np
        import torch

        return {
            name: torch.from_numpy(np.stack([np.asarray(row[name]) for row in rows]))
            for name in rows[0]
        }

    @property
    def sizes(self) -> dict[str, int]:
        """Number of pixels; with labels also the number of classes, the largest label plus one."""
        sizes = {"input_dim": math.prod(self.shape)}
        if "labels" in self.files:
            rows = header(self._path("images"))[1][0]
            sizes["num_classes"] = int(self._labels("labels", rows).max()) + 1
        return sizes

    def depends_on(self) -> Any:
        """Return the files' contents, and how they are read."""
        return {
            "files": {name: content_hash(self._path(name)) for name in self.files},
            "split": [self.val_fraction, self.split_seed],
            "pixels": [self.pixels, self.range],
        }


def _opened(path: Path) -> Any:
    """Open a file, unpacked; whether it is gzip is said by its first bytes, not its name."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")


def header(path: Path) -> tuple[str, tuple[int, ...]]:
    """Return the type of an IDX file's numbers, in NumPy's spelling, and its shape.

    Raises:
        UserError: the file is not in that format.
    """
    try:
        with _opened(path) as file:
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in TYPES or not start[3]:
                raise UserError(
                    f"{path} is not an IDX file: it begins with {start.hex() or 'nothing'}"
                )
            if start[3] > DIMENSIONS:
                raise UserError(f"{path} is damaged: its header says {start[3]} dimensions")
            return TYPES[start[2]], struct.unpack(f">{start[3]}I", file.read(4 * start[3]))
    except (OSError, EOFError, struct.error, ValueError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def read_idx(path: Path) -> Any:
    """Return the array of an IDX file; no more is read than its header says.

    Raises:
        UserError: the file is damaged, cut short or too long.
    """
    import numpy as np

    kind, shape = header(path)
    start, width = 4 + 4 * len(shape), np.dtype(kind).itemsize
    wanted = width * math.prod(shape)
    said = f"{path} is damaged: its header says {' x '.join(map(str, shape))} numbers"
    if wanted > bounds.unpacked(path):
        raise UserError(f"{said}, too many for a file of {bounds.size(path.stat().st_size)}")
    try:
        with _opened(path) as file:
            file.seek(start)
            content = file.read(wanted)
            more = file.read(1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if more or len(content) < wanted:
        raise UserError(f"{said}, {'more' if more else len(content) // width} follow")
    return np.frombuffer(content, kind).reshape(shape)
