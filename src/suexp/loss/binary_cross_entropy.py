"""Cross-entropy of labels that a row may have several of."""

from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.normalizer.base import at_least_float32


class BinaryCrossEntropy(nn.Module, Component):
    r"""$L = -\frac{1}{BC} \sum_{bc} y_{bc} \log \sigma(z_{bc}) + (1-y_{bc}) \log \sigma(-z_{bc})$.

    Each of C labels is a question of yes or no for itself. Computed in at least float32 from the
    logits: stable for logits of any size. Shapes: logits z and labels y (B, C).

    Reference: Bishop, Pattern Recognition and Machine Learning, section 4.3.2,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/.

    Example:
        >>> import torch
        >>> from suexp.loss import BinaryCrossEntropy
        >>> labels = torch.tensor([[True, False]])  # two coins: log 2 nats each
        >>> BinaryCrossEntropy()(torch.zeros(1, 2), labels)
        tensor(0.6931)
    """

    provides: ClassVar[set[str]] = {"separate_scores"}
    needs: ClassVar[dict[str, str]] = {
        "separate_labels": "it asks for each label by itself; use task=multilabel"
    }

    def forward(
        self, logits: Float[Tensor, "b c"], labels: Bool[Tensor, "b c"]
    ) -> Float[Tensor, ""]:
        """Return the mean over rows and labels."""
        z = at_least_float32(logits)
        return F.binary_cross_entropy_with_logits(z, labels.to(z.dtype))
