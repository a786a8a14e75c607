"""What K-means makes of the rows that units learn from."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import Callback

from suexp.callback._when import is_last
from suexp.component import Component


class KmeansEnergy(Callback, Component):
    r"""Once training is over: ``val/kmeans_energy``, $-\frac1n \sum_x \max_c \langle c, x \rangle$.

    c are scikit-learn's centroids of the training rows x, as many as the model has units, brought
    to size 1; x (n, D) has size 1. ``val/train_energy`` is that of the learned units: their rule is
    an online form of spherical K-means.

    Post: https://kexue.fm/archives/8159. References: Lloyd, Least squares quantization in PCM,
    https://doi.org/10.1109/TIT.1982.1056489; Ryali et al., arXiv:2001.04907.

    Args:
        starts: how often K-means begins; the best counts.

    Raises:
        ValueError: a number below 1.
    """

    needs: ClassVar[dict[str, str]] = {
        "codes": "it compares a code's units with centroids; use task=hashing",
        "vectors": "it clusters vectors; use data=digits",
    }

    def __init__(self, starts: int = 1) -> None:
        if starts < 1:
            raise ValueError(f"starts={starts}: at least 1")
        self.starts = starts

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Cluster, once training is over."""
        if not is_last(trainer):
            return
        from sklearn.cluster import KMeans

        task: Any = pl_module
        rows = task.training_rows().cpu()
        kmeans = KMeans(len(task.model.weight), n_init=self.starts, random_state=0)
        centroids = torch.from_numpy(kmeans.fit(rows.numpy()).cluster_centers_).to(rows)
        nearest = (rows @ F.normalize(centroids, dim=1).T).amax(1)
        task.final["val/kmeans_energy"] = -float(nearest.mean())
