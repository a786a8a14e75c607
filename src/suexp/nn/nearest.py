"""The nearest other vector of each of many."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

BLOCK = 768  # vectors: products of two blocks stay in a processor's cache


@torch.no_grad()
def nearest_other(vectors: Float[Tensor, "k d"]) -> Int[Tensor, " k"]:
    r"""Return $\arg\max_{j \ne i} x_i \cdot x_j$ for each of k vectors, the first of equals.

    Products are symmetric, so each pair of blocks is multiplied once: $k^2 d$ operations, and never
    more than one product of blocks in memory.

    Example:
        >>> nearest_other(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])).tolist()
        [1, 0, 1]

    Raises:
        ValueError: fewer than two vectors, of which none is another's.
    """
    if len(vectors) < 2:
        raise ValueError(f"{len(vectors)} vectors: none has another")
    best = vectors.new_full((len(vectors),), -torch.inf)
    at = torch.zeros(len(vectors), dtype=torch.long, device=vectors.device)

    def take(place: slice, products: Tensor, start: int) -> None:
        """Take what is nearer; where it stands is looked for there only, which costs more."""
        nearest = products.amax(1)
        better = (nearest > best[place]).nonzero().squeeze(1)
        best[place][better] = nearest[better]
        at[place][better] = products[better].argmax(1) + start

    blocks = [slice(i, i + BLOCK) for i in range(0, len(vectors), BLOCK)]
    for number, rows in enumerate(blocks):
        products = vectors[rows] @ vectors[rows].mT
        take(rows, products.fill_diagonal_(-torch.inf), rows.start)
        for columns in blocks[number + 1 :]:
            products = vectors[rows] @ vectors[columns].mT
            take(rows, products, columns.start)
            take(columns, products.mT, rows.start)
    return at
