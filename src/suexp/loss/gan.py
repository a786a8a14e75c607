"""Losses of a generator and its critic."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component

KINDS = ("wgan", "hinge", "bce", "bce_bounded")


class GAN(nn.Module, Component):
    r"""What a critic's scores f cost the critic and the generator; each loss is a mean.

    With real points x, generated ones y and $\sigma$ the logistic function:

    - wgan: critic $E f(y) - E f(x)$, generator $-E f(y)$;
    - hinge: critic $E \max(0, 1 - f(x)) + E \max(0, 1 + f(y))$, generator $-E f(y)$;
    - bce: critic $-E\log\sigma(f(x)) - E\log(1 - \sigma(f(y)))$, generator $-E\log\sigma(f(y))$,
      from logits and stable for any of them;
    - bce_bounded: the same with $\sigma(f)$ replaced by $(f + 1)/2$, for f in [-1, 1].

    Shapes: scores (b,), computed in float32 at least. Wherever nothing bounds the critic's level
    (wgan with a critic whose range is all numbers) the generator can run off; see
    https://kexue.fm/archives/8757.

    References: Goodfellow et al., arXiv:1406.2661; Arjovsky et al., arXiv:1701.07875; Lim and Ye,
    arXiv:1705.02894.

    Args:
        kind: wgan, hinge, bce or bce_bounded.

    Raises:
        ValueError: another kind.

    Example:
        >>> import torch
        >>> from suexp.loss import GAN
        >>> loss = GAN("hinge")
        >>> loss.critic(torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0]))
        tensor(1.)
        >>> loss.generator(torch.tensor([-2.0, 0.0]))
        tensor(1.)
    """

    provides: ClassVar[set[str]] = {"losses_of_two"}
    needs: ClassVar[dict[str, str]] = {
        "adversarial": "it is the loss of a generator and its critic; use task=adversarial",
        "bounded_critic if kind=bce_bounded": "its scores must lie in [-1, 1]; use "
        "method=gradient_normalization with form=gn, or loss.kind=bce",
    }

    def __init__(self, kind: Literal["wgan", "hinge", "bce", "bce_bounded"] = "bce") -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"loss.kind must be one of {', '.join(KINDS)}, not {kind}")
        self.kind = kind

    def critic(self, real: Float[Tensor, " b"], fake: Float[Tensor, " c"]) -> Float[Tensor, ""]:
        """Return the critic's loss from its scores of real and of generated points."""
        real, fake = _wide(real), _wide(fake)
        if self.kind == "wgan":
            return fake.mean() - real.mean()
        if self.kind == "hinge":
            return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        return self._cross_entropy(real) + self._cross_entropy(-fake)

    def generator(self, fake: Float[Tensor, " b"]) -> Float[Tensor, ""]:
        """Return the generator's loss from the critic's scores of its points."""
        fake = _wide(fake)
        return -fake.mean() if self.kind in ("wgan", "hinge") else self._cross_entropy(fake)

    def _cross_entropy(self, score: Tensor) -> Tensor:
        """Return the mean surprise that a point of this score is real."""
        if self.kind == "bce":
            return F.softplus(-score).mean()
        # A score that rounds to -1 costs -log of its rounding error, not infinity.
        return -((score + 1) / 2).clamp(min=1e-7).log().mean()


def _wide(score: Tensor) -> Tensor:
    return score if score.dtype.itemsize >= 4 else score.float()
