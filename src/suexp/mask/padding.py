"""Keys that are no tokens at all; made from a batch, so it has no YAML."""

from jaxtyping import Bool, Int
from torch import Tensor

from suexp.mask.base import Mask


class Padding(Mask):
    r"""$A_{bij} = \mathrm{keep}_{bj}$: nobody sees a padded key.

    Shapes: keep (batch, m); table (batch, 1, n, m), a view that broadcasts over heads and queries.

    Padded queries still see the real keys; what they compute is nobody's concern. Combine it with
    any other mask: ``mask & Padding(keep)``.

    Reference: https://kexue.fm/archives/6933.

    Args:
        keep: True where a key is a real token.

    Raises:
        ValueError: the mask is used with another number of keys.
    """

    def __init__(self, keep: Bool[Tensor, "b m"]) -> None:
        self.keep = keep

    def allowed(
        self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]
    ) -> Bool[Tensor, "b 1 n m"]:
        """Return ``keep`` for every query."""
        if key.shape[1] != self.keep.shape[1]:
            raise ValueError(
                f"the padding mask has {self.keep.shape[1]} keys, the attention {key.shape[1]}"
            )
        keep = self.keep.to(key.device)
        return keep[:, None, None, :].expand(-1, -1, query.shape[0], -1)
