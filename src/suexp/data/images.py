"""Pictures of your own, from image files."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

from suexp.code.local_files import local_path
from suexp.contents import content_hash
from suexp.data import bounds
from suexp.data._pictures import Pictures
from suexp.data.cache import cached
from suexp.data.document import refuse_single, share
from suexp.data.paths import found_files, only_files, staying_inside
from suexp.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


SMALLER = "mogrify -resize 64x64! NAME"  # ImageMagick's
OPAQUE = "give it a background: mogrify -background white -alpha remove -alpha off NAME"


class Images(Pictures):
    r"""Local image files of one size as vectors: $x = pixels / 255$.

    A batch holds ``x`` (B, height * width) or, in colour, (B, height * width * 3), float32. Files
    are held out by a hash of their pixels, so that equal ones stay together. Numbers of 16 bits
    are rounded to 8, $p = [p_{16} / 257]$, and a picture is turned as its camera says.

    With ``labelled`` a folder holds one folder for each class, whose name it has; a batch has
    ``label`` (B,), the place of the name among the sorted ones of ``files``.

    Reference: https://www.w3.org/TR/png-3/; read by Pillow, https://pillow.readthedocs.io.

    Args:
        files: a folder, of which all image files are taken, a path, a glob or a list of them.
        test_files: likewise; null: no test split.
        colour: three numbers a pixel; false: one, its luminance.
        val_fraction: share of the files held out for validation, in (0, 1).
        pixels: ``gray``, $p/255$; ``dequantized``, $(p+u)/256$ with u uniform in [0, 1), drawn once
            by ``split_seed``: a density then bounds the probability of the pixels.
        range: ``unit``, x in [0, 1]; ``symmetric``, $2x - 1$.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        split_seed: which files are held out, and the draws.
        labelled: folders hold folders of image files, one for each class.

    Raises:
        ValueError: a value out of range.
        UserError: no file, one that cannot be read, one of another size than the first or too
            large, an animation, or a transparent picture; a single class, or one that only
            ``test_files`` has.
    """

    provides: ClassVar[set[str]] = {
        "vectors",
        "images",
        "discrete if pixels=gray",
        "labels if labelled",
    }

    def __init__(
        self,
        files: str | list[str] | None = None,
        test_files: str | list[str] | None = None,
        colour: bool = False,
        val_fraction: float = 0.1,
        pixels: Literal["gray", "dequantized"] = "gray",
        range: Literal["unit", "symmetric"] = "unit",
        batch_size: int = 64,
        eval_batch_size: int = 512,
        split_seed: int = 0,
        labelled: bool = False,
    ) -> None:
        super().__init__(pixels, range, batch_size, eval_batch_size, split_seed)
        if not 0 < val_fraction < 1:
            raise ValueError(f"data.val_fraction must lie in (0, 1), not {val_fraction}")
        self.files = {"files": files, **({"test_files": test_files} if test_files else {})}
        self.colour, self.val_fraction, self.labelled = colour, val_fraction, labelled

    def _paths(self, name: str) -> list[Path]:
        given = self.files[name]
        patterns = [given] if isinstance(given, str) else given or []
        found: list[Path] = []
        for pattern in patterns:
            folder = local_path(f"data.{name}", pattern)
            if folder.is_dir():
                within = folder.glob("[!.]*/*" if self.labelled else "*")
                inside = sorted(p for p in within if p.suffix.lower() in SUFFIXES)
                if not inside:
                    raise UserError(self._nothing(f"data.{name}: {pattern}", folder))
                found += staying_inside(f"data.{name}", folder, only_files(f"data.{name}", inside))
            else:
                found += found_files(f"data.{name}", pattern)
        if not found:
            raise UserError(f"data.{name} names no file; give it a folder: data.{name}=my_pictures")
        return found

    def _nothing(self, where: str, folder: Path) -> str:
        """Return the complaint that a folder holds no picture, with the way to those below it."""
        if self.labelled:
            return f"{where} holds no folders of pictures, one for each class"
        deeper = any(p.suffix.lower() in SUFFIXES for p in folder.glob("*/*"))
        hint = "; for a folder a class set data.labelled=true" if deeper else ""
        return f"{where} holds no {', '.join(SUFFIXES)} file{hint}"

    @property
    def label_names(self) -> list[str]:
        """The classes: the names of the folders that hold the pictures of ``files``."""
        return sorted({path.parent.name for path in self._paths("files")})

    def _labels(self, name: str) -> Any:
        """Return the pictures' classes, or None."""
        import numpy as np

        if not self.labelled:
            return None
        place = {label: i for i, label in enumerate(self.label_names)}
        refuse_single(place)
        paths = self._paths(name)
        if strange := next((path for path in paths if path.parent.name not in place), None):
            raise UserError(
                f"data.{name}: {strange} is of the class {strange.parent.name!r}, which data.files "
                "has not"
            )
        return np.array([place[path.parent.name] for path in paths])

    def reads(self) -> list[Path]:
        """Return the pictures' files."""
        return [path for name in self.files for path in self._paths(name)]

    def _read(self, path: Path) -> Any:
        import numpy as np
        from PIL import Image, ImageOps

        try:
            with _opened(path) as picture:
                if math.prod(picture.size) > bounds.PIXELS:
                    size = " x ".join(map(str, picture.size))
                    raise UserError(f"{path} is {size} pixels; make it smaller: {SMALLER}")
                if getattr(picture, "is_animated", False):
                    raise UserError(f"{path} is an animation; save its pictures one by one")
                if picture.has_transparency_data and _alpha(picture) < 255:
                    raise UserError(f"{path} is transparent in places; {OPAQUE}")
                picture = ImageOps.exif_transpose(picture)
                if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
                    eight = np.rint(np.asarray(picture) / 257).astype("u1")
                    picture = Image.fromarray(eight)
                return np.asarray(picture.convert("RGB" if self.colour else "L"))
        except UserError:
            raise
        except Image.DecompressionBombError as error:
            raise UserError(f"{path} has over 10^8 pixels; make it smaller: {SMALLER}") from error
        except Exception as error:  # of a dozen classes, over several lines
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{path} cannot be read as an image: {reason}") from error

    def _rows(self, name: str, size: tuple[int, int]) -> Any:
        """Return all pictures, (rows, width) bytes."""
        import numpy as np

        rows = []
        paths = self._paths(name)
        if len(paths) * math.prod(size) * (3 if self.colour else 1) > bounds.PICTURES:
            raise UserError(
                f"data.{name}: {len(paths)} pictures of {size[0]} x {size[1]} pixels are more than "
                f"the {bounds.size(bounds.PICTURES)} that are held; make them smaller: {SMALLER}"
            )
        for path in paths:
            picture = self._read(path)
            height, width = picture.shape[:2]
            if (width, height) != size:
                first = self._paths("files")[0]
                raise UserError(
                    f"data.{name}: {path} is {width} x {height} pixels, but {first} is "
                    f"{size[0]} x {size[1]}; pictures must have one size"
                )
            rows.append(picture.reshape(-1))
        return np.stack(rows)

    def _size(self) -> tuple[int, int]:
        """Return width and height of the first picture."""
        height, width = self._read(self._paths("files")[0]).shape[:2]
        return width, height

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width of a picture; in colour, and 3."""
        width, height = self._size()
        return (height, width, 3) if self.colour else (height, width)

    def splits(self) -> dict[str, Any]:
        """Return train, validation and, where there are such files, test."""
        from suexp.data.rows import open_rows

        folder = cached(f"images-{self.fingerprint()[:20]}", self._prepare)
        names = ["train", "validation", *(["test"] if "test_files" in self.files else [])]
        return {
            name: open_rows(folder / f"{name}.arrow", f"{folder.name}-{name}") for name in names
        }

    def _prepare(self, folder: Path) -> None:
        import numpy as np

        size = self._size()
        rows = self._rows("files", size)
        salt = f"images/{self.split_seed}"
        held = np.array(
            [share(row.tobytes().hex(), salt) < self.val_fraction for row in rows], dtype=bool
        )
        if held.all() or not held.any():
            raise UserError(
                f"data.val_fraction={self.val_fraction} of {len(rows)} files leaves one of the "
                "splits empty"
            )
        labels = self._labels("files")
        for split, part in (("train", ~held), ("validation", held)):
            own = None if labels is None else labels[part]
            self.write(folder / f"{split}.arrow", rows[part], own)
        if "test_files" in self.files:
            labels = self._labels("test_files")
            self.write(folder / "test.arrow", self._rows("test_files", size), labels)

    @property
    def sizes(self) -> dict[str, int]:
        """How many numbers a picture has, and how many classes there are."""
        width, height = self._size()
        classes = {"num_classes": len(self.label_names)} if self.labelled else {}
        return {"input_dim": width * height * (3 if self.colour else 1)} | classes

    def depends_on(self) -> Any:
        """Return the files' contents, and how they are read."""
        return {
            "files": {name: [content_hash(p) for p in self._paths(name)] for name in self.files},
            "split": [self.val_fraction, self.split_seed],
            "pixels": [self.pixels, self.range, self.colour],
            "labels": [p.parent.name for name in self.files for p in self._paths(name)]
            if self.labelled
            else None,
        }


def _alpha(picture: Any) -> int:
    """Return the least opacity of a pixel, of 255."""
    return int(picture.convert("RGBA").getchannel("A").getextrema()[0])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a picture of one of the formats; its pixels are not read yet."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is lower
        with Image.open(path, formats=("PNG", "JPEG", "BMP", "GIF", "WEBP")) as picture:
            yield picture
