"""Sparse softmax: only the k largest scores have a probability."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.errors import at_least
from suexp.normalizer.base import Normalizer, at_least_float32


class Sparse(Normalizer):
    r"""$p_i = e^{z_i} / \sum_{j \in \Omega_k} e^{z_j}$ in $\Omega_k$, the k largest scores; else 0.

    Cross-entropy with softmax of C classes lets the target have p only where its score is $\log
    \frac{(C-1) p}{1-p}$ above the others', and so goes on to part them long after the answers are
    right. k in the place of C ends that earlier. A target outside of $\Omega_k$ has p = 0, whose
    logarithm says nothing; training takes

    $$L = \log \sum_{j \in \Omega_k} e^{z_j} - z_t,$$

    which is at least 0, is cross-entropy where t lies in $\Omega_k$, and raises $z_t$ where it does
    not. The most probable class is that of softmax. Shapes: z (..., C).

    Reference: https://kexue.fm/archives/8046.

    Args:
        k: how many scores count, at least 1; from C on it is softmax. 10 in the post.

    Raises:
        ValueError: a k below 1; labels that are smoothed, for which every p must be above 0.

    Example:
        >>> import torch
        >>> Sparse(k=2).predict(torch.tensor([0.0, 3.0, 3.0]))
        tensor([0.0000, 0.5000, 0.5000])
    """

    provides: ClassVar[set[str]] = {"other_weights"}
    refuses: ClassVar[dict[str, str]] = {
        "smoothed_labels": "sparse softmax has probabilities of 0; use loss.label_smoothing=0",
        "loss=tailr": "it takes the probability of every label to be above 0; use "
        "loss=cross_entropy",
    }

    def __init__(self, k: int = 10) -> None:
        super().__init__()
        at_least(1, k=k)
        self.k = k

    def log_weights(self, z: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        """Return the k largest scores, -inf in the place of the others."""
        z = at_least_float32(z)
        if self.k >= z.shape[-1]:
            return z
        kept, places = z.topk(self.k, dim=-1)
        return torch.full_like(z, -torch.inf).scatter(-1, places, kept)

    def cross_entropy(
        self,
        z: Float[Tensor, "n c"],
        target: Int[Tensor, " n"],
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
    ) -> Float[Tensor, ""]:
        """Return L, summed over the targets that count.

        Raises:
            ValueError: labels that are smoothed.
        """
        if label_smoothing:
            reason = self.refuses["smoothed_labels"]
            raise ValueError(f"label_smoothing {label_smoothing}: {reason}")
        z, counts = at_least_float32(z), target != ignore_index
        kept = z.topk(min(self.k, z.shape[-1]), dim=-1).values
        right = z.gather(1, target.where(counts, 0)[:, None])[:, 0]
        return (kept.logsumexp(-1) - right).where(counts, 0).sum()

    def extra_repr(self) -> str:
        """Return what the constructor was given."""
        return f"k={self.k}"
