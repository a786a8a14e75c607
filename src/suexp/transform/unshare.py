"""Let layers that were one go their own ways."""

from typing import ClassVar

import torch
from torch import nn

from suexp.transform.copy import Copy


class Unshare(Copy):
    r"""$\theta^{child}_l = \theta^{parent}_{shared}$ for every layer l: real copies of one.

    The child computes what its parent did, bit for bit, and from then on each layer learns by
    itself: the shared gradient was $\sum_l \partial L / \partial \theta_l$. A child with
    ``sharing_groups`` between 1 and the number of layers is unshared in part. Tensors may have any
    shape. It is `Copy`, but that it refuses where there is nothing to unshare.

    Post: https://kexue.fm/archives/7187. Paper: Lan et al., ALBERT, arXiv:1909.11942.

    Args:
        leave_out: parts that stay as the child drew them, [classifier] say.

    Raises:
        ValueError: a parent whose layers share nothing, a child that shares as much.
    """

    needs: ClassVar[dict[str, str]] = {
        "parent": "it starts from another run whose layers are one; name it with "
        "parent=['model.sharing=all']"
    }

    @torch.no_grad()
    def apply(self, parent: nn.Module, child: nn.Module) -> None:
        """Copy.

        Raises:
            ValueError: nothing is unshared, or a tensor is missing or has another shape.
        """
        before, after = repeated(parent), repeated(child)
        if not before:
            raise ValueError("nothing to unshare: the parent has model.sharing=none")
        if after >= before:
            raise ValueError(
                "nothing to unshare: the child shares as much as its parent; set "
                "model.sharing=none, or a higher model.sharing_groups"
            )
        super().apply(parent, child)


def repeated(model: nn.Module) -> int:
    """Return how many names of parameters are another name of one that there is."""
    every = sum(1 for _ in model.named_parameters(remove_duplicate=False))
    return every - sum(1 for _ in model.parameters())
