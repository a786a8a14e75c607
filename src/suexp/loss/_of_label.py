"""What the losses share that look at the right class's probability alone."""

from jaxtyping import Float
from torch import Tensor

from suexp.loss.cross_entropy import CrossEntropy


class OfLabel(CrossEntropy):
    r"""$L = \frac1{|T|} \sum_{t \in T} f(\log p_{t y_t})$.

    A subclass gives f. Label smoothing makes of f the sum of $(1-\epsilon) f$ and $\epsilon$ times
    the mean of $-\log p_{tc}$ over all classes. All else, T, the normaliser, the margin, is
    `CrossEntropy`'s. Computed from log p in at least float32, never from the logarithm of a p that
    was rounded to 0. Shapes: log p (n,), f (n,).

    Raises:
        ValueError: when called, targets that are probabilities, or a single class.
    """

    def of_label(self, log_p: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return f of the right class's log-probability."""
        raise NotImplementedError

    def forward(self, logits: Float[Tensor, "*b c"], target: Tensor) -> Float[Tensor, ""]:
        """Return the mean over the targets, whole numbers of shape (...), that count."""
        if target.is_floating_point() or logits.shape[-1] < 2:
            name, shape = type(self).__name__, tuple(logits.shape)
            raise ValueError(
                f"{name} needs the number of the right class, of at least two classes; it was "
                f"given {target.dtype} and logits {shape}; use loss=cross_entropy"
            )
        z, target, counts = self._flat(logits, target)
        log_p = self.normalizer.log_prob(z)
        loss = self.of_label(log_p.gather(1, target.where(counts, 0)[:, None])[:, 0])
        if self.label_smoothing:
            loss = (1 - self.label_smoothing) * loss - self.label_smoothing * log_p.mean(-1)
        return loss.where(counts, 0).sum() / counts.sum().clamp(min=1)
