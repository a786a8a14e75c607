"""The contract of every attention."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.mask.base import Mask


def precision(x: Tensor) -> torch.dtype:
    """Return the type to compute sums and exponentials in: that of x, at least float32."""
    return torch.promote_types(x.dtype, torch.float32)


class Attention(nn.Module, Component):
    """Head-split tensors in, head-split tensors out; projections and positions belong to the shell.

    Options that never form the n x m scores cannot take a bias or an arbitrary pattern; they say so
    in `refuses` with the features ``score_bias`` (a position that adds to the scores) and
    ``pattern`` (a mask that is neither bidirectional nor causal nor padding).
    """

    def forward(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        v: Float[Tensor, "b h m e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n e"]:
        """Return the attended values. A query that may look at nothing gets zeros."""
        raise NotImplementedError

    def decode(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h n d"],
        v: Float[Tensor, "b h n e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
        state: Any = None,
    ) -> tuple[Float[Tensor, "b h n e"], Any]:
        """Attend from n new tokens to all so far; ``state`` carries what is kept of the past.

        The first call takes the whole prompt with ``state=None``. The default keeps keys and
        values; a linear attention overrides it with a state whose size does not grow. ``mask`` is
        the mask of the whole text so far (m = past + n keys).
        """
        if state is not None:
            k, v = torch.cat([state[0], k], -2), torch.cat([state[1], v], -2)
        return self(q, k, v, mask, bias), (k, v)
