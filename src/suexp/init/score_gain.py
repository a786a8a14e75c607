"""The usual initialisation, with other scores."""

import torch
from torch import nn

from suexp.init.base import Parametrization
from suexp.init.default import Default
from suexp.nn.multi_head import MultiHeadAttention


class ScoreGain(Default):
    r"""`Default`, then $W_q \leftarrow c\,W_q$ and $W_k \leftarrow c\,W_k$: scores are $c^2$ times.

    A large c makes attention nearly one-hot from the start: its entropy, the most that training
    could squeeze out of it, is small, and so are its gradients. With c = 0 attention is exactly
    uniform, but the gradients of both matrices vanish too: a saddle. Shapes: matrices (fan_out,
    fan_in); the draws are those of `Default`.

    Reference: https://kexue.fm/archives/9593; on the scale of scores https://kexue.fm/archives/8620.

    Args:
        score_gain: c; 1: `Default` itself.
        gain: $3^{-1/2}$, see `Default`.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$.
        parametrization: ``standard`` or ``ntk``, see `suexp.init.base.Init`.

    Raises:
        ValueError: a negative score_gain, a gain or standard deviation that is not above 0; a model
            without attention.
    """

    needs = {
        "attention": "it scales queries and keys, which this model does not have; use init=default"
    }

    def __init__(
        self,
        score_gain: float = 1.0,
        gain: float = 0.577,
        embedding_std: float | None = None,
        parametrization: Parametrization = "standard",
    ) -> None:
        super().__init__(gain, embedding_std, parametrization)
        if not 0 <= score_gain < float("inf"):
            raise ValueError(f"score_gain must be at least 0 and finite, not {score_gain}")
        self.score_gain = score_gain

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Draw every weight of the model, and scale the projections of queries and keys."""
        super().apply(model)
        layers = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
        if not layers:
            raise ValueError("init=score_gain: the model has no attention; use init=default")
        for layer in layers:
            values = layer.output.in_features
            layer.qkv.weight[:-values].mul_(self.score_gain)
