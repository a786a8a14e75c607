"""The in-batch contrastive loss: tell a vector's partner from all others."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from suexp.component import Component

BLOCK = 4096  # rows of the table of scores that exist at once


def candidate_loss(
    queries: Float[Tensor, "n d"],
    candidates: Float[Tensor, "m d"],
    partner: Int[Tensor, " n"],
    exclude: Int[Tensor, " n"] | None = None,
    flat: bool = False,
    groups: tuple[Int[Tensor, " n"], Int[Tensor, " m"]] | None = None,
) -> Float[Tensor, " n"]:
    r"""Return $\ell_i = \log \sum_j e^{s_{ij}} - s_{i,p_i}$, where $s_{ij}$ is an inner product.

    The table of scores $\langle q_i, c_j \rangle$ is formed `BLOCK` rows at a time.

    Args:
        queries: q.
        candidates: c.
        partner: $p_i$, the place of each query's partner.
        exclude: a candidate that does not compete: the query itself; None: all compete.
        flat: leave the partner out of the sum.
        groups: of the queries and of the candidates: those of the query's own group, its partner
            excepted, do not compete.
    """
    losses = []
    for start in range(0, len(queries), BLOCK):
        scores = queries[start : start + BLOCK] @ candidates.T
        rows = torch.arange(len(scores), device=scores.device)
        column = partner[start : start + BLOCK]
        positive = scores[rows, column]
        if exclude is not None or flat or groups is not None:
            out = torch.zeros_like(scores, dtype=torch.bool)
            if groups is not None:
                out = groups[0][start : start + BLOCK, None] == groups[1]
                out[rows, column] = False
            if exclude is not None:
                out[rows, exclude[start : start + BLOCK]] = True
            if flat:
                out[rows, column] = True
            scores = scores.masked_fill(out, -torch.inf)
        losses.append(scores.logsumexp(-1) - positive)
    return torch.cat(losses)


class InfoNCE(nn.Module, Component):
    r"""$L = -\frac1{|P|} \sum_{i \in P} \log \frac{e^{s_{i,p_i}}}{\sum_{j} e^{s_{ij}}}$.

    Scores are $s_{ij} = \mathrm{sim}(h_i, h_j) / \tau$, and $p_i$ is the partner of i. Two layouts:

    - ``two_tower``: vectors a (n, d) and b (n, d), row i of one is the partner of row i of the
      other; the mean of the losses of a among all b and of b among all a (CLIP's).
    - ``interleaved``: vectors (2n, d) whose rows 2i and 2i + 1 are partners; every row competes
      with every other, itself left out (SimCSE's and SimBERT's). Of two towers the rows are
      interleaved first.

    P holds the rows whose pair is a true one (``positive``); if there are none the loss is 0, with
    zero gradients. The vectors of the other pairs still compete: hard negatives. Computed in
    float32 whatever the vectors' type (float64 stays), autocast or not, for $1/\tau$ magnifies what
    rounding leaves.

    References: van den Oord et al., arXiv:1807.03748; https://kexue.fm/archives/8471 on its
    gradient; a learned temperature is CLIP's, arXiv:2103.00020; ``flat`` is FlatNCE,
    arXiv:2107.01152.

    Args:
        temperature: $\tau$, with ``learnable`` its first value; 0.05 as in SimCSE.
        similarity: ``cosine`` or ``dot``.
        layout: ``two_tower`` or ``interleaved``.
        learnable: train $\log 1/\tau$, the parameter ``log_scale``.
        flat: leave the partner out of the sum. The gradient is FlatNCE's, whose own value is
            always 1; this value goes below 0 once the partner beats all others together.

    Raises:
        ValueError: a temperature that is not above 0, an unknown similarity or layout; when called,
            an odd number of interleaved rows, or a flat loss where nothing competes.

    Example:
        >>> import torch
        >>> from suexp.loss import InfoNCE
        >>> a = torch.eye(2)  # each like its partner, orthogonal to the other: log(1 + 1/e)
        >>> InfoNCE(temperature=1.0)(a, a)
        tensor(0.3133)
    """

    provides = {"contrast"}

    def __init__(
        self,
        temperature: float = 0.05,
        similarity: Literal["cosine", "dot"] = "cosine",
        layout: Literal["two_tower", "interleaved"] = "two_tower",
        learnable: bool = False,
        flat: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        if similarity not in ("cosine", "dot"):
            raise ValueError(f"similarity must be cosine or dot, not {similarity}")
        if layout not in ("two_tower", "interleaved"):
            raise ValueError(f"layout must be two_tower or interleaved, not {layout}")
        self.similarity, self.layout, self.flat = similarity, layout, flat
        self.scale = 1 / temperature
        self.log_scale = nn.Parameter(torch.tensor(self.scale).log()) if learnable else None

    @property
    def temperature(self) -> float:
        r"""$\tau$ as it is now."""
        return 1 / self.scale if self.log_scale is None else math.exp(-self.log_scale.item())

    def forward(
        self,
        a: Float[Tensor, "n d"],
        b: Float[Tensor, "n d"] | None = None,
        positive: Bool[Tensor, " pairs"] | None = None,
        group: Int[Tensor, " pairs"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean loss.

        Args:
            a: the vectors of the first tower, or all of them, interleaved.
            b: the vectors of the second tower.
            positive: which pairs are true ones; None: all.
            group: pairs of one group do not compete with each other: they would be false
                negatives; None: all compete.
        """
        if b is None and (self.layout == "two_tower" or len(a) % 2):
            raise ValueError(
                f"layout={self.layout} of {len(a)} vectors: "
                + ("give two towers" if self.layout == "two_tower" else "they come in pairs")
            )
        with torch.autocast(a.device.type, enabled=False):
            a = self._prepared(a)
            b = None if b is None else self._prepared(b)
            if self.layout == "two_tower" and b is not None:
                losses = self._two_tower(a, b, group)
            else:
                together = a if b is None else torch.stack((a, b), 1).flatten(0, 1)
                losses = self._interleaved(together, group)
        if positive is None:
            return losses.mean()
        return losses.where(positive, 0).sum() / positive.sum().clamp(min=1)

    def _prepared(self, vectors: Tensor) -> Tensor:
        vectors = vectors if vectors.dtype == torch.float64 else vectors.float()
        return F.normalize(vectors, dim=-1) if self.similarity == "cosine" else vectors

    def _scaled(self, vectors: Tensor) -> Tensor:
        scale = self.scale if self.log_scale is None else self.log_scale.exp()
        return vectors * scale

    def _two_tower(self, a: Tensor, b: Tensor, group: Tensor | None) -> Tensor:
        """Return each pair's loss."""
        if self.flat and len(a) < 2:
            raise ValueError("flat=true needs at least 2 pairs: nothing competes with the partner")
        rows = torch.arange(len(a), device=a.device)
        if (
            len(a) <= BLOCK and not self.flat and group is None
        ):  # one table of scores serves both ways
            scores = self._scaled(a) @ b.T
            return (scores.logsumexp(0) + scores.logsumexp(1)) / 2 - scores.diagonal()
        groups = None if group is None else (group, group)
        there = candidate_loss(self._scaled(a), b, rows, flat=self.flat, groups=groups)
        back = candidate_loss(self._scaled(b), a, rows, flat=self.flat, groups=groups)
        return (there + back) / 2

    def _interleaved(self, vectors: Tensor, group: Tensor | None) -> Tensor:
        """Return each pair's loss."""
        if self.flat and len(vectors) < 4:
            raise ValueError("flat=true needs at least 2 pairs: nothing competes with the partner")
        rows = torch.arange(len(vectors), device=vectors.device)
        both = None if group is None else group.repeat_interleave(2)
        groups = None if both is None else (both, both)
        losses = candidate_loss(self._scaled(vectors), vectors, rows ^ 1, rows, self.flat, groups)
        return losses.view(-1, 2).mean(-1)
