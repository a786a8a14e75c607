"""Another attention in a trained network, all other weights kept."""

from torch import nn

from suexp.attention.base import Attention
from suexp.transform.base import Transform, copy_exactly


class ConvertAttention(Transform):
    r"""$\theta_{child} = \theta_{parent}$ outside attention: the projections q, k, v, o are kept.

    What the attention modules themselves own (a Performer's random directions) stays as the child
    was built; of the parent's it is dropped. A softmax Transformer becomes a Performer so, which
    computes nearly the same function where the random features estimate well.

    Shapes: each other tensor has its namesake of equal shape on the other side.

    Reference: Choromanski et al., Rethinking Attention with Performers, arXiv:2009.14794, section
    4.3 (a trained Transformer's weights in a Performer); https://kexue.fm/archives/7921.

    Raises:
        ValueError: names or shapes differ elsewhere; one line names the first of them.
    """

    def apply(self, parent: nn.Module, child: nn.Module) -> None:
        """Copy all parameters and buffers that no attention module owns."""
        skip = frozenset(_owned_by_attention(parent) | _owned_by_attention(child))
        copy_exactly("convert_attention", parent.state_dict(), child, skip)


def _owned_by_attention(module: nn.Module) -> set[str]:
    prefixes = tuple(
        f"{name}." if name else ""
        for name, part in module.named_modules()
        if isinstance(part, Attention)
    )
    return {key for key in module.state_dict() if key.startswith(prefixes)}
