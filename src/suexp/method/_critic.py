"""What the methods that constrain a GAN's critic share."""

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

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


def require_independent(critic: nn.Module) -> None:
    """Refuse a critic whose score of a point depends on other points or on chance.

    Raises:
        ValueError: it has a BatchNorm, an InstanceNorm with running statistics, or a dropout.
    """
    for name, module in critic.named_modules():
        tracks = isinstance(module, _InstanceNorm) and module.track_running_stats
        if isinstance(module, _BatchNorm) or tracks:
            raise ValueError(
                "per-sample input gradients need a discriminator without BatchNorm, but the "
                f"critic's {name} is a {type(module).__name__}"
            )
        if isinstance(module, _DropoutNd) and module.p > 0:
            raise ValueError(
                f"the gradient's norm would be noisy: set the dropout of the critic's {name} to 0"
            )


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


def widened(x: Tensor, critic: nn.Module) -> Tensor:
    """Return x in float32 at least, where the critic's weights are."""
    narrow = x.dtype.itemsize < 4 and all(p.dtype.itemsize >= 4 for p in critic.parameters())
    return x.float() if narrow else x


def score_and_gradient(critic: Any, x: Tensor, create_graph: bool) -> tuple[Tensor, Tensor]:
    r"""Return the scores D(x) (b,) and their gradients $\nabla_x D$, of x's shape.

    Gradients are on inside, whatever they are outside; autocast is off, for the gradient's norm
    underflows in float16. Since each score depends on its own point alone, the gradient of their
    sum holds the gradient of each.

    Args:
        critic: D.
        x: points (b, ...).
        create_graph: whether gradients can go through what is returned.
    """
    with torch.inference_mode(False), torch.enable_grad():
        if x.is_inference():
            x = x.clone()
        if not x.requires_grad:
            x = x.detach().requires_grad_()
        if x.is_leaf:  # at which torch's counter of operations would stumble
            x = x.view_as(x)
        with torch.autocast(x.device.type, enabled=False):
            score = critic(x)
            (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=create_graph)
    return (score, gradient) if create_graph else (score.detach(), gradient)


def norms(gradient: Tensor) -> Tensor:
    """Return the Euclidean norm of each point's gradient, in float32 at least: (b,)."""
    flat = gradient.flatten(1)
    dtype = flat.dtype if flat.dtype.itemsize >= 4 else torch.float32
    return torch.linalg.vector_norm(flat, dim=1, dtype=dtype)
