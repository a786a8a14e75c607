"""Cross-entropy between the scores of classes and the right class."""

from typing import ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import at_least
from suexp.normalizer.base import Normalizer, at_least_float32
from suexp.normalizer.softmax import Softmax


class CrossEntropy(nn.Module, Component):
    r"""$L = -\frac1{|T|} \sum_{t \in T} \sum_c q_{tc} \log p_{tc}$, $p = \mathrm{softmax}(z)$.

    The target distribution is $q = (1-\epsilon)\,\mathrm{onehot}(y) + \epsilon/C$. T holds the
    targets that differ from ``ignore_index``; if there are none the loss is 0, with zero gradients.
    Computed in at least float32 whatever the logits' type: stable for logits of any size. Another
    normaliser than softmax gives other p. In training $z_y - m$ stands for $z_y$ throughout.
    Shapes: logits z (..., C), target (...), both of any number of dimensions.

    References: label smoothing of Szegedy et al., arXiv:1512.00567, section 7; margin of Liang et
    al., Soft-Margin Softmax for Deep Classification, https://doi.org/10.1007/978-3-319-70096-0_43,
    and with a Taylor polynomial of Banerjee et al., arXiv:2011.11538
    (https://kexue.fm/archives/7919).

    Args:
        label_smoothing: $\epsilon$ in [0, 1); 0 is the plain cross-entropy.
        ignore_index: target value that does not count.
        margin: m, at least 0.
        normalizer: gives p; None: softmax.

    Raises:
        ValueError: label_smoothing outside [0, 1), a margin below 0.

    Example:
        >>> import torch
        >>> from suexp.loss import CrossEntropy
        >>> logits = torch.zeros(2, 4)  # four classes, equally likely: log 4 nats
        >>> CrossEntropy()(logits, torch.tensor([0, -100]))  # the second does not count
        tensor(1.3863)
    """

    provides: ClassVar[set[str]] = {"class_scores", "smoothed_labels if label_smoothing"}

    def __init__(
        self,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        margin: float = 0.0,
        normalizer: Normalizer | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), not {label_smoothing}")
        at_least(0, margin=margin)
        self.label_smoothing = label_smoothing
        self.ignore_index = ignore_index
        self.margin = margin
        self.normalizer = Softmax() if normalizer is None else normalizer

    def forward(
        self, logits: Float[Tensor, "*b c"], target: Int[Tensor, "*b"]
    ) -> Float[Tensor, ""]:
        """Return the mean over the targets that count."""
        z, target, counts = self._flat(logits, target)
        total = self.normalizer.cross_entropy(z, target, self.label_smoothing, self.ignore_index)
        return total / counts.sum().clamp(min=1)

    def _flat(
        self, logits: Float[Tensor, "*b c"], target: Int[Tensor, "*b"]
    ) -> tuple[Float[Tensor, "n c"], Int[Tensor, " n"], Bool[Tensor, " n"]]:
        """Return scores, with the margin in training, and targets as lists, and which count."""
        target, z = target.reshape(-1), logits.reshape(-1, logits.shape[-1])
        counts = target != self.ignore_index
        if self.margin and self.training:
            z = at_least_float32(z)
            right = target.where(counts, 0)[:, None]
            z = z.scatter_add(1, right, (-self.margin * counts[:, None]).to(z.dtype))
        return z, target, counts
