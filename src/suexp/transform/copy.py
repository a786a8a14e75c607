"""Start from a parent of the same architecture."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from suexp.transform.base import Transform, mismatch


class Copy(Transform):
    r"""Every tensor of the child equals its parent's: $\theta_{child} = \theta_{parent}$.

    Parameters and buffers alike, of any shape. It is what a run with a parent does when it names no
    transform. Reference: warm start by fine-tuning, Howard and Ruder, arXiv:1801.06146.

    Args:
        leave_out: names of parts (``head``, ``blocks.1``) that stay as the child drew them; one of
            the two need not have them.

    Raises:
        ValueError: a part that neither has.
    """

    def __init__(self, leave_out: Sequence[str] = ()) -> None:
        self.leave_out = list(leave_out)

    @torch.no_grad()
    def apply(self, parent: nn.Module, child: nn.Module) -> None:
        """Copy.

        Raises:
            ValueError: a tensor is missing on one side, or has another shape.
        """
        self.write(parent.state_dict(), child)

    def write(self, state: dict[str, Tensor], child: nn.Module) -> None:
        """Write a state, less what is left out.

        Raises:
            ValueError: a tensor is missing on one side, or has another shape.
        """
        own = child.state_dict()
        copied, replaced = self._rest(state), self._rest(own)
        for part in self.leave_out:
            if not any(_within(name, part) for name in (*state, *own)):
                known = ", ".join(dict.fromkeys(name.split(".")[0] for name in own))
                raise ValueError(
                    f"transform.leave_out: the model has no part {part!r}; use {known}"
                )
        complaint = mismatch(copied, replaced)
        if complaint:
            raise ValueError(
                f"{complaint}; the architectures must be equal, or name a transform "
                "(transform=convert_attention swaps the attention)"
            )
        child.load_state_dict(copied, strict=not self.leave_out)

    def _rest(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the state without what is left out."""
        return {
            name: value
            for name, value in state.items()
            if not any(_within(name, part) for part in self.leave_out)
        }


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
