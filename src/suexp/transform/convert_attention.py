"""Swap the attention of a trained model."""

import torch
from torch import Tensor, nn

from suexp.attention.base import Attention
from suexp.transform.base import Transform, mismatch


class ConvertAttention(Transform):
    r"""Everything but the attention itself: $W_q, W_k, W_v, W_o$ and the rest are the parent's.

    Tensors that belong to an `Attention` (random projections, say) stay as the child drew them; all
    others are copied and must have equal shapes. A softmax model becomes a Performer without
    retraining: Choromanski et al., arXiv:2009.14794, section 4.3, and
    https://kexue.fm/archives/7921.
    """

    @torch.no_grad()
    def apply(self, parent: nn.Module, child: nn.Module) -> None:
        """Copy what is not the attention's own.

        Raises:
            ValueError: a tensor outside the attention is missing on one side, or has another shape.
        """
        kept = _outside(parent)
        complaint = mismatch(kept, _outside(child))
        if complaint:
            raise ValueError(f"{complaint}; only the attention may differ")
        child.load_state_dict(kept, strict=False)


def _outside(model: nn.Module) -> dict[str, Tensor]:
    """Return the state less what attentions own."""
    own = [name for name, module in model.named_modules() if isinstance(module, Attention)]
    return {
        key: value
        for key, value in model.state_dict().items()
        if not any(key.startswith(f"{name}.") for name in own)
    }
