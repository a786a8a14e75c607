"""BioHash's learning rule, as a loss that any optimizer can follow."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import one_of
from suexp.model._hash import Codes
from suexp.nn.hashing import Bag, drive, pull


class BioHash(nn.Module, Component):
    r"""$L = -\frac1B \sum_b \langle W_\mu,\, x_b/p - \langle W_\mu, x_b/p\rangle W_\mu \rangle$.

    $\mu$ is the unit of largest $\langle W_\mu, x_b \rangle$, and the bracket's right side counts
    as a constant, so that minus the gradient is the local rule: the winner moves to the sample, and
    only it. At $|W_\mu| = 1$ it is the gradient of the energy $E = -\sum \langle W_\mu, x/p \rangle
    / |W_\mu|$, which ``update=energy`` follows, and sizes go to 1 by themselves. With p = 1 it is
    spherical K-means with a small step. Shapes: x (B, D), W (K, D).

    Relative to the paper: the mean over the batch and over processes, where it sums; a rate there
    is B times one here.

    Post: https://kexue.fm/archives/8159. Paper: Ryali et al., Bio-Inspired Hashing for Unsupervised
    Similarity Search, arXiv:2001.04907.

    Args:
        update: ``local`` or ``energy``.
        max_normalised: divide by the gradient's largest entry, as Krotov and Hopfield's code does.
        winner_input: what chooses $\mu$: ``raw``, x, as we read the paper, or ``scaled``, x / p.

    Raises:
        ValueError: another update or input.

    Example:
        >>> import torch
        >>> from suexp.loss.biohash import BioHash
        >>> from suexp.model import HashBio
        >>> model = HashBio(2, num_bits=1, num_units=2, start="normal")
        >>> model.weight.data = torch.eye(2)
        >>> BioHash()(model, torch.tensor([[0.8, 0.6]])).backward()
        >>> 0 - model.weight.grad  # x - .8 W of the first unit
        tensor([[0.0000, 0.6000],
                [0.0000, 0.0000]])
    """

    needs: ClassVar[dict[str, str]] = {"codes": "it moves the units of a code; use task=hashing"}

    def __init__(
        self,
        update: Literal["local", "energy"] = "local",
        max_normalised: bool = False,
        winner_input: Literal["raw", "scaled"] = "raw",
    ) -> None:
        super().__init__()
        one_of(("local", "energy"), update=update)
        one_of(("raw", "scaled"), winner_input=winner_input)
        self.update, self.max_normalised = update, max_normalised
        self.scaled = winner_input == "scaled"

    def forward(self, model: Codes, x: Float[Tensor, "b d"] | Bag) -> Float[Tensor, ""]:
        """Return the loss; with ``local`` its gradient matters, not its value."""
        winner = model.winner(x, self.scaled)
        if self.update == "energy":
            loss = _energy(model.weight, x, winner).mean()
        else:
            loss = _local(model.weight, x, winner)
        if not self.max_normalised:
            return loss
        (gradient,) = torch.autograd.grad(loss, model.weight)
        largest = gradient.abs().max().clamp(min=1e-30)
        # A second way back through the winners would cost as much again.
        linear = (model.weight * (gradient / largest)).sum()
        return linear + (loss / largest - linear).detach()

    @staticmethod
    def energy(model: Codes, x: Float[Tensor, "b d"] | Bag) -> Float[Tensor, " b"]:
        """Return each row's energy, that of the largest score by x."""
        winner = drive(x, model.weight.detach()).argmax(-1)
        return _energy(model.weight, x, winner)


def _energy(w: Tensor, x: Tensor | Bag, winner: Tensor) -> Tensor:
    return -pull(x, w, winner) / w.norm(dim=1)[winner]


def _local(w: Tensor, x: Tensor | Bag, winner: Tensor) -> Tensor:
    pulls = pull(x, w, winner)
    # By unit, so that no row of W is copied for each sample.
    decay = torch.zeros_like(w[:, 0]).index_add(0, winner, pulls.detach())
    return -(pulls.sum() - (decay * (w * w.detach()).sum(1)).sum()) / len(winner)
