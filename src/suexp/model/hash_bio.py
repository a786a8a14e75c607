"""BioHash: the fly's hash with projections that are learned."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from suexp.errors import at_least, between, one_of
from suexp.model._hash import Codes
from suexp.nn.hashing import Bag, drive

RECENT = 0.01  # what a batch weighs in the units' win rates


class HashBio(Codes):
    r"""$h = $ the k largest of $W x$, W learned by `loss=biohash`: near the k nearest centroids.

    Units begin at training rows of size 1 (``start=data``; the task hands them over), for a unit
    that never wins never moves, and fills codes with noise. With a ``conscience`` c the winner in
    training is that of largest $\langle W_\mu, x \rangle + c (1/K - f_\mu)$, $f_\mu$ how often the
    unit won of late: who never wins gets its turn. Shapes: x (b, input_dim), h (b, num_units) with
    k ones.

    Post: https://kexue.fm/archives/8159, which has no experiment. Papers: Ryali et al.,
    Bio-Inspired Hashing for Unsupervised Similarity Search, arXiv:2001.04907; Liang et al., Can a
    Fruit Fly Learn Word Embeddings?, arXiv:2101.06887; DeSieno, Adding a conscience to competitive
    learning, https://doi.org/10.1109/ICNN.1988.23839.

    Args:
        input_dim: size of x.
        num_bits: k.
        expansion: units over k, where num_units does not say how many they are.
        num_units: units; None: expansion k.
        start: ``data``; ``normal``, N(0, 1/input_dim); ``uniform``, on [0, 1) and of size 1.
        conscience: c; 0: who scores most wins.

    Raises:
        ValueError: a size below 1, a conscience below 0, fewer units than bits, another start.
    """

    wins: Tensor

    def __init__(
        self,
        input_dim: int,
        num_bits: int = 8,
        expansion: int = 20,
        num_units: int | None = None,
        start: Literal["data", "normal", "uniform"] = "data",
        conscience: float = 0.0,
    ) -> None:
        super().__init__()
        at_least(1, input_dim=input_dim, num_bits=num_bits, expansion=expansion)
        if num_units is not None and num_units < num_bits:
            raise ValueError(f"model.num_units={num_units} cannot hold num_bits={num_bits} ones")
        one_of(("data", "normal", "uniform"), start=start)
        between("[0, inf)", conscience=conscience)
        units = expansion * num_bits if num_units is None else num_units
        self.num_bits, self.start, self.conscience = num_bits, start, conscience
        w = torch.rand(units, input_dim) if start == "uniform" else torch.randn(units, input_dim)
        size = input_dim**0.5 if start == "normal" else w.norm(dim=1, keepdim=True)
        self.weight = nn.Parameter(w / size)
        self.register_buffer("begun", torch.tensor(start != "data"))
        self.register_buffer("wins", torch.full((units,), 1 / units))

    @torch.no_grad()
    def winner(self, x: Float[Tensor, "b d"] | Bag, scaled: bool = False) -> Int[Tensor, " b"]:
        """Return the unit that learns from each row, and in training remember who won."""
        if not self.conscience:
            return super().winner(x, scaled)
        fair = self.conscience * (1 / len(self.weight) - self.wins)
        chosen = (drive(x, self.weight, scaled) + fair).argmax(-1)
        if self.training:
            share = chosen.bincount(minlength=len(self.weight)) / len(chosen)
            self.wins.lerp_(share.to(self.wins), RECENT)
        return chosen

    @torch.no_grad()
    def begin(self, rows: Tensor) -> None:
        """Put the units on training rows, unless that was done.

        Raises:
            ValueError: fewer rows than units.
        """
        if self.begun:
            return
        if len(rows) < len(self.weight):
            raise ValueError(
                f"{len(self.weight)} units cannot begin at {len(rows)} training rows; set "
                "model.start=normal or fewer units"
            )
        chosen = rows[torch.randperm(len(rows))[: len(self.weight)].to(rows.device)]
        self.weight.copy_(nn.functional.normalize(chosen.to(self.weight.dtype), dim=1))
        self.begun.fill_(True)  # type: ignore[operator]
