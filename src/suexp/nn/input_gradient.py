"""Gradients of a network's scores by its input, for critics and energies."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm


def require_independent(critic: nn.Module, what: str = "critic") -> None:
    """Refuse a network whose score of a point depends on other points or on chance.

    Args:
        critic: the network.
        what: it is called in the message.

    Raises:
        ValueError: it has a BatchNorm, an InstanceNorm with running statistics, or a dropout.
    """
    for name, module in critic.named_modules():
        tracks = isinstance(module, _InstanceNorm) and module.track_running_stats
        if isinstance(module, _BatchNorm) or tracks:
            raise ValueError(
                f"per-sample input gradients need a {what} without BatchNorm, but its {name} is a "
                f"{type(module).__name__}"
            )
        if isinstance(module, _DropoutNd) and module.p > 0:
            raise ValueError(
                f"the gradient's norm would be noisy: set the dropout of the {what}'s {name} to 0"
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
