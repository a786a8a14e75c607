"""Cross-entropy between logits and class indices."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from suexp.component import Component


class CrossEntropy(nn.Module, Component):
    r"""$L = -\frac1{|T|} \sum_{t \in T} \sum_c q_{tc} \log p_{tc}$.

    The target distribution is $q = (1-\epsilon)\,\mathrm{onehot}(y) + \epsilon/C$. T holds the
    targets that differ from ``ignore_index``; if there are none the loss is 0, with zero gradients.
    Computed from log-softmax in float32 whatever the logits' type: stable for logits of any size.
    Shapes: logits (..., C), target (...), both of any number of dimensions.

    Reference: label smoothing of Szegedy et al., arXiv:1512.00567, section 7.

    Args:
        label_smoothing: $\epsilon$ in [0, 1); 0 is the plain cross-entropy.
        ignore_index: target value that does not count.

    Raises:
        ValueError: label_smoothing outside [0, 1).
    """

    def __init__(self, label_smoothing: float = 0.0, ignore_index: int = -100) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), not {label_smoothing}")
        self.label_smoothing = label_smoothing
        self.ignore_index = ignore_index

    def forward(
        self, logits: Float[Tensor, "*b c"], target: Int[Tensor, "*b"]
    ) -> Float[Tensor, ""]:
        """Return the mean over the targets that count."""
        target = target.reshape(-1)
        total = F.cross_entropy(
            logits.reshape(-1, logits.shape[-1]).float(),
            target,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        return total / (target != self.ignore_index).sum().clamp(min=1)
