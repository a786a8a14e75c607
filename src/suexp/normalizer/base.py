"""The contract of every normaliser."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from suexp.component import Component


class Normalizer(nn.Module, Component):
    r"""Turns scores z into probabilities $p_i = w_i(z) / \sum_j w_j(z)$ over the last axis.

    A subclass gives the logarithms of the weights w; everything else follows. Losses that take a
    normaliser train by `cross_entropy`; tasks predict and validate, and decodings draw, by the same
    one. Everything is computed in at least float32.
    """

    needs: ClassVar[dict[str, str]] = {
        "class_scores": "there are no scores of classes or tokens that it could normalise; use "
        "loss=cross_entropy, or leave that choice out"
    }

    def log_weights(self, z: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        r"""Return $\log w$, up to a constant of each row: softmax of it is p; -inf where p is 0."""
        raise NotImplementedError

    def log_prob(self, z: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        r"""Return $\log p$."""
        return self.log_weights(z).log_softmax(-1)

    def predict(self, z: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        """Return p."""
        return self.log_weights(z).softmax(-1)

    def best(self, z: Float[Tensor, "*b c"]) -> Int[Tensor, "*b"]:
        """Return the most probable class, which need not have the largest score."""
        return self.log_weights(z).argmax(-1)

    def cross_entropy(
        self,
        z: Float[Tensor, "n c"],
        target: Int[Tensor, " n"],
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
    ) -> Float[Tensor, ""]:
        r"""Return $-\sum_t \sum_c q_{tc} \log p_{tc}$ over the targets that count.

        The arguments are those of `suexp.loss.cross_entropy.CrossEntropy`.
        """
        return F.cross_entropy(
            self.log_weights(z),
            target,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            reduction="sum",
        )


def at_least_float32(z: Tensor) -> Tensor:
    """Return z, in float32 if it has fewer bits."""
    return z.to(torch.promote_types(z.dtype, torch.float32))
