"""The contract of every loss for tagging."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import at_least
from suexp.loss._chain import Constraints, constraints_of, lengths_of

Reduction = Literal["token", "sequence"]
Scheme = Literal["sbie", "bio", "bioes"]


class TaggingLoss(nn.Module, Component):
    r"""Judges and finds label sequences, given logits (B, T, C) and which steps are real, (B, T).

    The loss is $-\log p(y|x)$, summed over the rows and divided by the number of real steps
    (``token``) or of rows (``sequence``). Everything is computed in float32 at least, also under
    autocast. A mask is a non-empty prefix of each row; None: all steps are real.

    Attributes:
        decodings: the ways in which the loss can find labels, by name.
        entries: what is called beside ``forward``.
    """

    provides: ClassVar[set[str]] = {"tagging_loss"}
    needs: ClassVar[dict[str, str]] = {"tags": "it judges a label a token; use task=tagging"}
    entries: ClassVar[tuple[str, ...]] = ("log_prob", "decode")
    decodings: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        num_labels: int,
        label_names: Sequence[str] | None,
        constraints: "Scheme | Constraints | None",
        reduction: Reduction,
    ) -> None:
        super().__init__()
        at_least(1, num_labels=num_labels)
        if reduction not in ("token", "sequence"):
            raise ValueError(f"reduction must be token or sequence, not {reduction}")
        self.num_labels, self.reduction = num_labels, reduction
        self.constraints = constraints_of(constraints, label_names, num_labels)

    def forward(
        self,
        logits: Float[Tensor, "b t c"],
        labels: Int[Tensor, "b t"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean loss.

        Raises:
            UserError: a mask that is no non-empty prefix, a label out of range at a real step.
        """
        log_prob = self.log_prob(logits, labels, mask)
        count = labels.numel() if mask is None else mask.sum()
        return -log_prob.sum() / (count if self.reduction == "token" else len(labels))

    def log_prob(
        self,
        logits: Float[Tensor, "b t c"],
        labels: Int[Tensor, "b t"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, " b"]:
        """Return the log-probability of each row's labels; errors as of `forward`."""
        mask = torch.ones_like(labels, dtype=torch.bool) if mask is None else mask
        lengths = lengths_of(mask, labels, self.num_labels)
        with torch.autocast(logits.device.type, enabled=False):
            return self._log_prob(
                self._prepared(logits, mask), labels.masked_fill(~mask, 0), lengths
            )

    @torch.no_grad()
    def decode(
        self,
        logits: Float[Tensor, "b t c"],
        mask: Bool[Tensor, "b t"] | None = None,
        decoding: str | None = None,
    ) -> list[list[int]]:
        """Return each row's labels.

        Args:
            logits: the network's scores.
            mask: real steps.
            decoding: one of `decodings`; None: the one that the loss was built with.

        Raises:
            UserError: a mask that is no non-empty prefix, or constraints that leave no path.
        """
        if mask is None:
            mask = torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
        lengths = lengths_of(mask)
        with torch.autocast(logits.device.type, enabled=False):
            return self._decode(self._prepared(logits, mask), lengths, decoding or self.decoding)

    @property
    def decoding(self) -> str:
        """The way in which labels are found where nobody asks for another."""
        return self.decodings[0]

    def _prepared(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Return the logits in float32 or float64, with zeros at padded steps."""
        if logits.shape[-1] != self.num_labels:
            raise ValueError(f"the logits have {logits.shape[-1]} labels, not {self.num_labels}")
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return wide.masked_fill(~mask.unsqueeze(-1), 0)

    def _log_prob(self, logits: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        raise NotImplementedError

    def _decode(self, logits: Tensor, lengths: Tensor, decoding: str) -> list[list[int]]:
        raise NotImplementedError


class Transitions(nn.Module):
    r"""Scores $g_{ij}$ of label j after label i: a table (C, C), or $g = L R^\top$ of rank d.

    What is stored is g / m (of the low rank, L / m), used times the multiplier m: with Adam, which
    moves every number by about the learning rate, g then moves m times as far. Drawn uniformly as
    by Glorot and Bengio.

    Args:
        num_labels: C.
        lr_multiplier: m.
        rank: d; None: the full table.

    Raises:
        ValueError: a multiplier or a rank that is not positive.
    """

    table: nn.Parameter
    left: nn.Parameter
    right: nn.Parameter

    def __init__(self, num_labels: int, lr_multiplier: float, rank: int | None) -> None:
        super().__init__()
        if not lr_multiplier > 0:
            raise ValueError(f"lr_multiplier must be positive, not {lr_multiplier}")
        if rank is not None and rank < 1:
            raise ValueError(f"rank must be at least 1, not {rank}")
        self.lr_multiplier, self.rank = lr_multiplier, rank
        names = ("table",) if rank is None else ("left", "right")
        for name in names:
            weight = torch.empty(num_labels, num_labels if rank is None else rank)
            nn.init.xavier_uniform_(weight)
            self.register_parameter(name, nn.Parameter(weight))
        with torch.no_grad():
            self.get_parameter(names[0]).div_(lr_multiplier)

    def forward(self) -> Float[Tensor, "c c"]:
        """Return g whole."""
        if self.rank is None:
            return self.table * self.lr_multiplier
        return (self.left * self.lr_multiplier) @ self.right.t()

    def rows(self, labels: Int[Tensor, "b t"]) -> Float[Tensor, "b t c"]:
        """Return g of these labels before all others; never whole where the rank is low."""
        if self.rank is None:
            return F.embedding(labels, self())
        left = F.embedding(labels, self.left * self.lr_multiplier)
        return left @ self.right.t()

    def columns(self, labels: Int[Tensor, "b t"]) -> Float[Tensor, "b t c"]:
        """Return g of all labels before these."""
        if self.rank is None:
            return F.embedding(labels, self().t())
        right = F.embedding(labels, self.right)
        return right @ (self.left * self.lr_multiplier).t()
