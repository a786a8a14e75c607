"""Weights of a GAN's critic kept in a small interval."""

from typing import TYPE_CHECKING, ClassVar

import torch

from suexp.method._critic import critic_of
from suexp.method.base import Method

if TYPE_CHECKING:
    from suexp.task.base import Task


class WeightClipping(Method):
    r"""$w \leftarrow \min(\max(w, -c), c)$ for every weight of the critic, after each step.

    Bounds the critic's Lipschitz constant by some number, of which only the order is known; its
    capacity suffers. Post: https://kexue.fm/archives/8757. Paper: Arjovsky et al., Wasserstein GAN,
    arXiv:1701.07875.

    Args:
        c: 0.01 as in the paper.
        allow_combined: let another Lipschitz constraint act as well; to be set for both.

    Raises:
        ValueError: c not above 0.
    """

    provides: ClassVar[set[str]] = {"lipschitz_constraint if allow_combined=False"}
    needs: ClassVar[dict[str, str]] = {
        "critic": "it constrains a GAN's critic; use task=adversarial"
    }
    refuses: ClassVar[dict[str, str]] = {
        "lipschitz_constraint": "one Lipschitz constraint is enough; leave one of them out, or set "
        "allow_combined=true for both"
    }

    def __init__(self, c: float = 0.01, allow_combined: bool = False) -> None:
        super().__init__()
        if not c > 0:
            raise ValueError(f"c must be above 0, not {c}")
        self.c, self.allow_combined = c, allow_combined

    def attach(self, task: "Task") -> None:
        """Check that the task has a critic."""
        critic_of(task, "weight_clipping")

    @torch.no_grad()
    def after_step(self, task: "Task") -> None:
        """Clip; after the generator's step there is nothing to do."""
        for parameter in critic_of(task, "weight_clipping").parameters():
            parameter.clamp_(-self.c, self.c)
