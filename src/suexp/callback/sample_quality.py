"""How far drawn points are from held-out ones, whatever drew them."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import at_least
from suexp.task._critic import picture_rows, sample_rows
from suexp.task._samples import (
    coverage,
    energy_distance,
    frechet,
    sliced_wasserstein,
    wasserstein,
)
from suexp.task.base import Task

FITTED = 2000  # training rows that the classifier learns from
MOST_EXACT = 1000  # points of the exact distance, whose assignment costs their cube


class SampleQuality(Callback, Component):
    r"""Once training is over: distances of n drawn points from n held-out ones.

    ``val/energy_distance``, $2E|X-Y| - E|X-X'| - E|Y-Y'|$; ``val/sliced_w1`` and ``val/w1``, the
    Wasserstein distances over random directions and exactly, of at most 1,000 points;
    ``val/frechet``, of their means and covariances; each beside that of as many training rows,
    ``val/real_energy_distance`` and so on: what a perfect sampler would have. Where the data have
    ``centres``: ``val/share_good`` and ``val/modes``, points within 3 deviations of a mode, and
    modes with a tenth of their fair share. Where they have labels, and more than two dimensions: of
    a logistic regression of 2,000 training rows ``val/confidence``, the mean of its largest
    probability, ``val/class_kl``, of the classes that it sees from those of held-out rows, and
    ``val/real_confidence``. Points that are no numbers are infinitely far.

    Shapes: points (n, d). Tables: ``samples`` in the plane, ``picture`` of square images.

    Post: https://kexue.fm/archives/7038. References: those of `suexp.task._samples`.

    Args:
        num_samples: n; at most as many as rows are held out.
        projections: directions of the sliced distance.
        seed: of what is drawn.

    Raises:
        ValueError: fewer than 2 samples, no direction.
    """

    needs: ClassVar[dict[str, str]] = {
        "samples": "it compares drawn points; use task=score_energy with sampler=langevin, or "
        "model=gaussian with task=density_fit",
        "vectors": "it compares vectors; use data=ring or data=digits",
    }

    def __init__(self, num_samples: int = 1000, projections: int = 200, seed: int = 0) -> None:
        at_least(2, num_samples=num_samples)
        at_least(1, projections=projections)
        self.num_samples, self.projections, self.seed = num_samples, projections, seed

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw and compare, once training is over."""
        if is_last(trainer):
            assert isinstance(pl_module, Task)
            self.measure(pl_module, trainer.datamodule.splits)  # type: ignore[attr-defined]

    @torch.no_grad()
    def measure(self, task: Any, splits: Mapping[str, Any]) -> None:
        """Draw and compare; the task keeps what is found.

        Args:
            task: what draws.
            splits: rows for training and validation.
        """
        real, labels = _rows(task, splits["validation"], self.num_samples)
        train, train_labels = _rows(task, splits["train"], max(FITTED, len(real)))
        fake = task.sample(len(real), self.seed).cpu().double()
        found = self.distances(real, fake)
        seen = train[: len(real)]
        if len(seen) == len(real):
            found |= {f"real_{k}": v for k, v in self.distances(real, seen).items()}
        centres = getattr(task.data, "centres", None)
        if centres is not None:
            share, modes = coverage(fake, centres, task.data.std)
            found |= {"share_good": share, "modes": float(modes)}
        elif labels is not None and real.shape[1] > 2:
            found |= judged(train, train_labels, real, labels, fake)
        task.final |= {f"val/{name}": value for name, value in found.items()}
        for table in ("samples", "picture"):
            task.tables.pop(table, None)
        if real.shape[1] == 2:
            task.record_rows("samples", sample_rows(real, fake))
        elif picture := picture_rows(real, fake):
            task.record_rows("picture", picture)

    def distances(self, a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> dict[str, float]:
        """Return the distances of two clouds."""
        exact = min(len(a), MOST_EXACT)
        finite = bool(torch.isfinite(b).all())
        sliced = sliced_wasserstein(a, b, self.projections) if finite else math.inf
        return {
            "energy_distance": energy_distance(a, b),
            "w1": wasserstein(a[:exact], b[:exact]),
            "sliced_w1": sliced,
            "frechet": frechet(a, b),
        }


def judged(train: Tensor, labels: Any, real: Tensor, held: Any, fake: Tensor) -> dict[str, float]:
    """Return what a logistic regression of training rows makes of drawn points."""
    from sklearn.linear_model import LogisticRegression

    if not torch.isfinite(fake).all():
        return {"confidence": 0.0, "class_kl": math.inf}
    scale = train.abs().max()
    classifier = LogisticRegression(max_iter=1000, C=1.0)
    classifier.fit((train / scale).numpy(), labels.numpy())
    seen = classifier.predict_proba((fake / scale).numpy())
    own = classifier.predict_proba((real / scale).numpy())
    classes = len(classifier.classes_)
    place = {int(c): i for i, c in enumerate(classifier.classes_)}
    truth = torch.zeros(classes, dtype=torch.float64)
    for label in held.tolist():
        truth[place.get(label, 0)] += 1
    counts = torch.bincount(torch.from_numpy(seen.argmax(1)), minlength=classes) + 0.5
    p, q = truth / truth.sum(), counts / counts.sum()
    terms = torch.where(p > 0, p * (p.clamp_min(1e-300) / q).log(), torch.zeros_like(p))
    return {
        "confidence": float(seen.max(1).mean()),
        "real_confidence": float(own.max(1).mean()),
        "class_kl": float(terms.sum()),
    }


def _rows(task: Any, rows: Any, most: int) -> tuple[Float[Tensor, "n d"], Tensor | None]:
    """Return the first rows of a split, and their labels where they have some."""
    batch = task.data.collate(rows.__getitems__(list(range(min(len(rows), most)))))
    return batch["x"].double(), batch.get("label")
