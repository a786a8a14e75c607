"""What the methods that constrain a GAN's critic share."""

import warnings
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from suexp.task.base import Task

# Modules that bend: with one of them a network is not piecewise linear.
BENT = (
    *(nn.CELU, nn.ELU, nn.GELU, nn.GLU, nn.Hardswish, nn.LogSigmoid, nn.Mish, nn.SELU, nn.SiLU),
    *(nn.Sigmoid, nn.Softmax, nn.Softplus, nn.Softsign, nn.Tanh, nn.Tanhshrink),
    *(nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.LayerNorm, nn.RMSNorm),
)


def critic_of(task: "Task", method: str) -> nn.Module:
    """Return a task's critic.

    Raises:
        ValueError: its model has none.
    """
    critic = getattr(task.model, "critic", None)
    if not isinstance(critic, nn.Module):
        raise ValueError(
            f"{type(task.model).__name__} has no critic for method={method} to constrain; "
            "use model=gan_mlp with task=adversarial"
        )
    return critic


def warn_if_bent(critic: nn.Module) -> None:
    """Warn where the critic is not piecewise linear."""
    bent = sorted(
        {type(module).__name__ for module in critic.modules() if isinstance(module, BENT)}
    )
    if bent:
        warnings.warn(
            f"the critic has {', '.join(bent)}: the bound of 1 on its gradient's norm needs a "
            "piecewise linear critic, use leaky_relu",
            stacklevel=3,
        )
