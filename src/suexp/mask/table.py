"""A rule of one's own as a table; made in a program, so it has no YAML."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from suexp.mask.base import Mask


class Table(Mask):
    r"""$A_{ij}$ as it is given, True where query i may look at key j.

    Shapes: allowed (n, m), (batch, 1, n, m) or (batch, heads, n, m), and so the table. Attentions
    that never form the scores refuse it.

    Reference: ``attn_mask`` of torch's scaled_dot_product_attention.

    Args:
        allowed: the table.

    Raises:
        ValueError: the mask is used with other numbers of queries or keys.

    Example:
        >>> import torch
        >>> from suexp.attention import Softmax
        >>> from suexp.mask import Table
        >>> q = k = torch.zeros(1, 1, 2, 4)
        >>> v = torch.tensor([1.0, 3.0]).view(1, 1, 2, 1)
        >>> Softmax()(q, k, v, Table(torch.tensor([[True, True], [False, True]]))).flatten()
        tensor([2., 3.])
    """

    undecodable = "its table is of one length"

    def __init__(self, allowed: Bool[Tensor, "*batch n m"]) -> None:
        self.table = allowed

    def select(self, rows: Int[Tensor, " r"]) -> "Table":
        """Return the table of these texts."""
        return self if self.table.ndim == 2 or len(self.table) == 1 else Table(self.table[rows])

    def allowed(
        self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]
    ) -> Bool[Tensor, "*batch n m"]:
        """Return the table."""
        size = (query.shape[0], key.shape[1])
        if self.table.shape[-2:] != size:
            own = " and ".join(map(str, self.table.shape[-2:]))
            raise ValueError(
                f"the mask's table is of {own} queries and keys, the attention's {size[0]} and "
                f"{size[1]}"
            )
        return self.table.to(key.device)


def of_torch(mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return where numbers that are added to scores allow to look, and what they add there.

    Args:
        mask: booleans, True where allowed, or numbers; the least that there is forbids, as -inf.

    Returns:
        Booleans; numbers, or None where they are zeros.
    """
    if mask.dtype == torch.bool:
        return mask, None
    allowed = mask > torch.finfo(mask.dtype).min
    added = mask.masked_fill(~allowed, 0)
    return allowed, added if bool(added.any()) else None
