"""RealFormer: the residual runs through the attention's scores."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.attention.base import Carried
from suexp.attention.softmax import Softmax, gather, masked_softmax
from suexp.mask.base import Mask

RESIDUALS = ("sum", "mean", "scaled", "last")


class Realformer(Softmax):
    r"""$A_l = \mathrm{softmax}(S_l + b)$ with $S_l = \tau Q_l K_l^\top + S_{l-1}$, $S_0 = 0$.

    The scores of a layer are added to those of the next before the softmax, head by head; by no
    parameter more, layer l attends as one head with the queries and keys of all layers up to l
    would. Masks act on each layer's sum and are no part of it. Shapes as in `Softmax`; S is
    (b, h, n, m), in at least float32. The first layer alone is `Softmax`. In an encoder-decoder the
    scores of cross-attention have a stream of their own. Within one step of decoding the newest
    rows go from layer to layer; the cache is that of `Softmax`.

    References: He et al., RealFormer, arXiv:2012.11747; https://kexue.fm/archives/8027.

    Args:
        residual: ``sum``, the paper's; ``mean``, $S_l = ((l - 1) S_{l-1} + \tau Q K^\top) / l$;
            ``scaled``, $S_l = \tau Q K^\top + a_l S_{l-1}$ with trained $a_l$; ``last``, only
            the scores of the layer just before are added.
        initial: $a_l$ at the start (scaled); 0 takes over a model that was trained without.
        carry_bias: the position's bias is part of what is carried on: l times in layer l.
        detach_previous: no gradient flows through what was carried.
        dropout: probability of dropping an attention weight in training; 0.
        scale: $\tau$; None: $d^{-1/2}$.

    Raises:
        ValueError: an unknown residual, a dropout outside [0, 1).

    Example:
        >>> import torch
        >>> from suexp.attention import Realformer
        >>> from suexp.mask import Causal
        >>> q = k = torch.zeros(1, 1, 3, 2)  # equal scores: means of the values so far
        >>> v = torch.tensor([1.0, 2.0, 6.0]).view(1, 1, 3, 1)
        >>> Realformer()(q, k, v, Causal()).flatten()
        tensor([1.0000, 1.5000, 3.0000])
    """

    provides = {"residual_scores"}
    carries = True
    products: ClassVar[str] = "n * m"
    saved: ClassVar[str] = "h * n * d + formed + (h * n * m if residual == 'scaled' else 0)"

    def __init__(
        self,
        residual: str = "sum",
        initial: float = 1.0,
        carry_bias: bool = False,
        detach_previous: bool = False,
        dropout: float = 0.0,
        scale: float | None = None,
    ) -> None:
        super().__init__(dropout, scale)
        if residual not in RESIDUALS:
            raise ValueError(f"residual must be one of {', '.join(RESIDUALS)}, not {residual!r}")
        self.residual, self.carry_bias, self.detach_previous = residual, carry_bias, detach_previous
        self.gain = nn.Parameter(torch.tensor(float(initial))) if residual == "scaled" else None

    def forward(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        v: Float[Tensor, "b h m e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
        carried: Carried | None = None,
    ) -> Float[Tensor, "b h n e"]:
        """Return the attended values; zeros for a query that may look at nothing.

        Args:
            q: queries.
            k: keys.
            v: values.
            mask: what queries may look at.
            bias: added to the scores.
            carried: the scores of the layers before; this layer's take their place.
        """
        carried = Carried() if carried is None else carried
        with torch.autocast(q.device.type, enabled=False):
            own = super().scores(q, k, mask, bias if self.carry_bias else None)
            carried.summed = self._joined(own, carried)
            carried.scores = own if self.residual == "last" else carried.summed
            carried.layers += 1
            scores = self.scores(q, k, mask, bias, carried)
            allowed = mask.dense(q.shape[-2], k.shape[-2], q.device)
            return gather(scores, v, allowed, self.dropping)

    def decode(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h n d"],
        v: Float[Tensor, "b h n e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
        state: Any = None,
        carried: Carried | None = None,
    ) -> tuple[Float[Tensor, "b h n e"], Any]:
        """Attend from n new tokens to all so far, as `Attention.decode` does."""
        if state is not None:
            k, v = torch.cat([state[0], k], -2), torch.cat([state[1], v], -2)
        return self(q, k, v, mask, bias, carried), (k, v)

    def scores(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
        carried: Carried | None = None,
    ) -> Float[Tensor, "b h n m"]:
        """Return the scores that it attended by when it was called with ``carried``."""
        if carried is None or carried.summed is None:
            return super().scores(q, k, mask, bias)
        return carried.summed if bias is None or self.carry_bias else carried.summed + bias

    def weights(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
        carried: Carried | None = None,
    ) -> Float[Tensor, "b h n m"]:
        """Return what the values were multiplied by, but for dropout."""
        allowed = mask.dense(q.shape[-2], k.shape[-2], q.device)
        return masked_softmax(self.scores(q, k, mask, bias, carried), allowed)

    def _joined(self, own: Tensor, carried: Carried) -> Tensor:
        past = carried.scores
        if past is None:
            # A first layer has a gain like the others; its gradient is 0 rather than missing.
            return own if self.gain is None else own + 0.0 * self.gain
        if self.detach_previous:
            past = past.detach()
        if self.residual == "mean":
            return torch.lerp(past, own, 1 / (carried.layers + 1))
        return own + (past if self.gain is None else self.gain * past)

    def extra_repr(self) -> str:
        """Return what the constructor was given."""
        return f"residual={self.residual}, dropout={self.dropout}, scale={self.scale}"
