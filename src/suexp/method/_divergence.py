"""How far predictions are from each other."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from suexp.normalizer.base import at_least_float32


def divergence(
    student: Float[Tensor, "*b c"],
    teacher: Float[Tensor, "*b c"],
    temperature: float | int,
    keep: Bool[Tensor, "*b"] | None = None,
) -> Float[Tensor, ""]:
    r"""Return $T^2 \mathrm{KL}(p^T \,\|\, q^T)$, the mean over rows that count, in nats."""
    p = F.log_softmax(at_least_float32(teacher) / temperature, -1)
    q = F.log_softmax(at_least_float32(student) / temperature, -1)
    rows = F.kl_div(q, p, reduction="none", log_target=True).sum(-1)
    mean = rows.mean() if keep is None else rows[keep].sum() / keep.sum().clamp(min=1)
    return temperature**2 * mean
