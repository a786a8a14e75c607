"""Give a trained model's heads larger keys without changing what it computes."""

from typing import Any

import torch
from torch import Tensor, nn

from suexp.attention.base import Attention
from suexp.nn.multi_head import MultiHeadAttention
from suexp.position.rope import Rope
from suexp.transform.base import Transform, mismatch


class EnlargeKeySize(Transform):
    r"""$W_q, W_k \to (k'/k)^{1/4} (W, 0)$, head by head: scores stay as they were.

    New features of queries and keys are 0 in the queries and drawn as the child's initialisation
    draws them in the keys, so that their product is 0 and yet has a gradient; the factor makes up
    for the larger divisor $\sqrt{k'}$. All other tensors are copied. The child's ``model.key_dim``
    says how large keys become.

    Reference: https://kexue.fm/archives/7325; the zeros follow Net2Net, arXiv:1511.05641.
    """

    refuses = {
        "position=rope": "rotary angles depend on the size of keys; use position=learned, say",
        "position=xpos": "rotary angles depend on the size of keys; use position=learned, say",
    }

    @torch.no_grad()
    def apply(self, parent: nn.Module, child: nn.Module) -> None:
        """Write the child's weights.

        Raises:
            ValueError: smaller keys, a rotary position (its angles depend on the size of keys), an
                attention whose scale is not that of the size, or models that differ elsewhere.
        """
        if isinstance(getattr(child, "position", None), Rope):
            raise ValueError(
                "enlarge_key_size: rotary angles depend on the size of keys, so larger ones change "
                "the model; use a position that does not rotate, such as position=learned"
            )
        state = parent.state_dict()
        shells = _shells(parent)
        for name, shell in _shells(child).items():
            if name in shells:
                old = shells[name]
                for part in ("weight", "bias"):
                    key = f"{name}.qkv.{part}"
                    if key in state:
                        drawn = getattr(shell.qkv, part)
                        state[key] = _enlarged(state[key], drawn, old, shell)
        complaint = mismatch(state, child.state_dict())
        if complaint:
            raise ValueError(f"{complaint}; only model.key_dim may differ")
        child.load_state_dict(state)


def _shells(model: nn.Module) -> dict[str, MultiHeadAttention]:
    return {n: m for n, m in model.named_modules() if isinstance(m, MultiHeadAttention)}


def _enlarged(
    weight: Tensor, drawn: Tensor, old: MultiHeadAttention, new: MultiHeadAttention
) -> Tensor:
    """Return the three projections of a shell, or their biases, with larger queries and keys."""
    heads, size, wide = old.num_heads, *(s.qkv.blocks[0] // s.num_heads for s in (old, new))
    if wide < size or new.num_heads != heads:
        raise ValueError(
            f"{new.num_heads} heads with keys of {wide} cannot hold {heads} with keys of {size}; "
            "set model.key_dim to more than the parent's"
        )
    factor = _score_factor(old.attention, new.attention, size, wide) ** 0.5
    q, k, v = torch.split(weight, old.qkv.blocks)
    parts: list[Tensor] = []
    for block, fresh in zip((q, k), torch.split(drawn, new.qkv.blocks)[:2], strict=True):
        room = fresh.detach().clone().view(heads, wide, *fresh.shape[1:])
        room[:, :size] = block.view(heads, size, *block.shape[1:]) * factor
        if not parts or weight.ndim == 1:
            room[:, size:] = 0
        parts.append(room.flatten(0, 1))
    return torch.cat([*parts, v])


def _score_factor(old: Attention, new: Any, size: int, wide: int) -> float:
    if type(old) is not type(new):
        raise ValueError(
            f"the child has attention {type(new).__name__}, its parent {type(old).__name__}; "
            "only model.key_dim may differ"
        )
    scale = getattr(new, "scale", None)
    return (wide / size) ** 0.5 if scale is None else 1.0
