"""Generalised cross-entropy: between cross-entropy and the mean absolute error."""

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.loss._of_label import OfLabel
from suexp.normalizer.base import Normalizer


class GCE(OfLabel):
    r"""$f = (1 - p^q) / q$, p the right class's probability.

    $q \to 0$ is cross-entropy, $q = 1$ is $1 - p$. The gradient is cross-entropy's times $p^q$.
    Shapes: logits (..., C), target (...).

    Reference: Zhang and Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks
    with Noisy Labels, arXiv:1805.07836; a rival of `TaiLr` (https://kexue.fm/archives/9526).

    Args:
        q: in (0, 1]; 0.7 as in the paper.
        label_smoothing: of `CrossEntropy`.
        ignore_index: target value that does not count.
        margin: of `CrossEntropy`.
        normalizer: gives p; None: softmax.

    Raises:
        ValueError: q outside (0, 1].

    Example:
        >>> import torch
        >>> from suexp.loss.gce import GCE
        >>> GCE(q=1.0)(torch.zeros(1, 4), torch.tensor([2]))
        tensor(0.7500)
    """

    def __init__(
        self,
        q: float = 0.7,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        margin: float = 0.0,
        normalizer: Normalizer | None = None,
    ) -> None:
        super().__init__(label_smoothing, ignore_index, margin, normalizer)
        if not 0 < q <= 1:
            raise ValueError(f"loss.q must lie in (0, 1], not {q}; 0 is loss=cross_entropy")
        self.q = q

    def of_label(self, log_p: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return f."""
        return -torch.expm1(self.q * log_p) / self.q
