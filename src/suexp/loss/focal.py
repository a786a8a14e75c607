"""Focal loss: what is known already counts less."""

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.errors import at_least
from suexp.loss._of_label import OfLabel
from suexp.normalizer.base import Normalizer


class Focal(OfLabel):
    r"""$f = -(1 - q)^\gamma \log q$, q the right class's probability.

    $\gamma = 0$ is cross-entropy. The opposite of `TaiLr`: rows of large q count less, so it holds
    on to wrong labels. Shapes: logits (..., C), target (...).

    Reference: Lin et al., Focal Loss for Dense Object Detection, arXiv:1708.02002;
    https://kexue.fm/archives/4733, and a rival in https://kexue.fm/archives/9526.

    Args:
        gamma: $\gamma$, at least 0; 2 as in the paper.
        label_smoothing: of `CrossEntropy`.
        ignore_index: target value that does not count.
        margin: of `CrossEntropy`.
        normalizer: gives q; None: softmax.

    Raises:
        ValueError: gamma below 0.

    Example:
        >>> import torch
        >>> from suexp.loss import Focal
        >>> Focal(gamma=2.0)(torch.zeros(1, 2), torch.tensor([0]))  # a quarter of log 2
        tensor(0.1733)
    """

    def __init__(
        self,
        gamma: float = 2.0,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        margin: float = 0.0,
        normalizer: Normalizer | None = None,
    ) -> None:
        super().__init__(label_smoothing, ignore_index, margin, normalizer)
        at_least(0, gamma=gamma)
        self.gamma = gamma

    def of_label(self, log_p: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return f; below gamma = 1 its factor has no slope where q is 1, so q stays below."""
        log_p = log_p.clamp(max=-torch.finfo(log_p.dtype).tiny)
        return -((-torch.expm1(log_p)) ** self.gamma) * log_p
