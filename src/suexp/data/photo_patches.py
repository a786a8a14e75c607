"""Patches of the two photographs that come with scikit-learn."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from suexp.data._pictures import Pictures
from suexp.data.cache import cached
from suexp.errors import at_least

HEIGHT, WIDTH = 427, 640


class PhotoPatches(Pictures):
    r"""Square patches of two photographs, grey or in colour, as vectors: $x = pixels / 255$.

    Patches are drawn at random places; those for validation from the right quarter of each
    photograph, the others from the rest, so that no pixel is in both splits. A batch holds ``x``
    (B, size^2) or, in colour, (B, 3 * size^2), float32.

    Reference: china.jpg and flower.jpg of scikit-learn's load_sample_images,
    https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_sample_images.html.

    Args:
        size: side of a patch in pixels, at most 128.
        num_train: patches for training.
        num_validation: patches for validation.
        colour: three numbers a pixel; false: one, its luminance.
        pixels: ``gray``, $p/255$; ``dequantized``, $(p+u)/256$ with u uniform in [0, 1), drawn once
            by ``split_seed``.
        range: ``unit``, x in [0, 1]; ``symmetric``, $2x - 1$.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        split_seed: of the places and the draws.

    Raises:
        ValueError: a value out of range.
    """

    provides: ClassVar[set[str]] = {"vectors", "images", "discrete if pixels=gray"}

    def __init__(
        self,
        size: int = 8,
        num_train: int = 8000,
        num_validation: int = 2000,
        colour: bool = False,
        pixels: Literal["gray", "dequantized"] = "gray",
        range: Literal["unit", "symmetric"] = "unit",
        batch_size: int = 64,
        eval_batch_size: int = 512,
        split_seed: int = 0,
    ) -> None:
        super().__init__(pixels, range, batch_size, eval_batch_size, split_seed)
        if not 1 <= size <= 128:
            raise ValueError(f"data.size must be between 1 and 128, not {size}")
        at_least(1, "data", num_train=num_train, num_validation=num_validation)
        self.size, self.colour = size, colour
        self.rows = {"train": num_train, "validation": num_validation}

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width of a patch; in colour, and 3."""
        return (self.size, self.size, 3) if self.colour else (self.size, self.size)

    def splits(self) -> dict[str, Any]:
        """Return the two splits, written on first use."""
        from suexp.data.rows import open_rows

        folder = cached(f"photos-{self.fingerprint()[:20]}", self._prepare)
        return {
            name: open_rows(folder / f"{name}.arrow", f"{folder.name}-{name}") for name in self.rows
        }

    def _prepare(self, folder: Path) -> None:
        import numpy as np
        from sklearn.datasets import load_sample_images

        photos = np.stack(load_sample_images().images)
        if not self.colour:  # the luminance of ITU-R BT.601, as Pillow has it
            photos = np.rint(photos @ [0.299, 0.587, 0.114]).astype("u1")[..., None]
        border = WIDTH * 3 // 4
        sides = {"train": (0, border), "validation": (border, WIDTH)}
        for place, (name, rows) in enumerate(self.rows.items()):
            generator = np.random.default_rng([self.split_seed, place])
            first, last = sides[name]
            which = generator.integers(len(photos), size=rows)
            top = generator.integers(HEIGHT - self.size + 1, size=rows)
            left = generator.integers(first, last - self.size + 1, size=rows)
            patches = np.stack(
                [
                    photos[w, t : t + self.size, s : s + self.size].reshape(-1)
                    for w, t, s in zip(which, top, left, strict=True)
                ]
            )
            self.write(folder / f"{name}.arrow", patches)

    @property
    def sizes(self) -> dict[str, int]:
        """How many numbers a patch has."""
        return {"input_dim": self.size**2 * (3 if self.colour else 1)}

    def depends_on(self) -> Any:
        """Return what is drawn."""
        return [self.size, self.rows, self.colour, self.pixels, self.range, self.split_seed]
