"""Start from a parent of the same architecture."""

import torch
from torch import nn

from suexp.transform.base import Transform, mismatch


class Copy(Transform):
    r"""Every tensor of the child equals its parent's: $\theta_{child} = \theta_{parent}$.

    Parameters and buffers alike, of any shape. It is what a run with a parent does when it names no
    transform. Reference: warm start by fine-tuning, Howard and Ruder, arXiv:1801.06146.
    """

    @torch.no_grad()
    def apply(self, parent: nn.Module, child: nn.Module) -> None:
        """Copy.

        Raises:
            ValueError: a tensor is missing on one side, or has another shape.
        """
        complaint = mismatch(parent.state_dict(), child.state_dict())
        if complaint:
            raise ValueError(
                f"{complaint}; the architectures must be equal, or name a transform "
                "(transform=convert_attention swaps the attention)"
            )
        child.load_state_dict(parent.state_dict())
