"""Linear-chain conditional random field (https://kexue.fm/archives/5542, archives/7213)."""

from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from suexp.loss._chain import (
    IMPLEMENTATIONS,
    Constraints,
    Implementation,
    best_path,
    log_partition,
    path_score,
)
from suexp.loss._tagging import Reduction, Scheme, TaggingLoss, Transitions

# From here on the products of whole matrices are what a low rank was meant to avoid.
MANY_LABELS = 2048


class Crf(TaggingLoss):
    r"""$-\log p(y|x) = \log Z - s(y)$, normalised over all paths of a row at once.

    $s(y) = \sum_k f_k(y_k) + \sum_{k \ge 2} g(y_{k-1}, y_k)$ with emissions f, the logits (B, T,
    C), and transitions g (C, C); $Z = \sum_y e^{s(y)}$ by the forward algorithm (see
    `suexp.loss._chain.log_partition`). Labels are found by Viterbi's algorithm. Labels and mask are
    (B, T). There are no scores for the first and last label of their own.

    References: Lafferty et al., Conditional Random Fields,
    https://repository.upenn.edu/cis_papers/159; https://kexue.fm/archives/5542; learning rate of
    the transitions: https://kexue.fm/archives/7196.

    Args:
        num_labels: C.
        label_names: the labels, for a scheme's constraints.
        constraints: the scheme (sbie, bio, bioes) whose rules the found labels obey, or
            `Constraints`; None: any labels. Z runs over all paths in any case.
        lr_multiplier: how much faster than the network's the transitions' learning rate is.
        rank: d of $g = L R^\top$; None: the full table.
        implementation: ``loop`` (as the recursion is written), ``scan`` (products of probabilities,
            gradient from the marginals), ``parallel`` (products of matrices in a tree).
        reduction: mean over the real tokens (``token``) or over the rows (``sequence``).

    Raises:
        ValueError: no labels, constraints that do not fit them or leave no path, an unknown
            implementation, or a low rank for more than 2048 labels.

    Example:
        >>> import torch
        >>> from suexp.loss import Crf
        >>> loss = Crf(num_labels=3)
        >>> _ = [p.data.zero_() for p in loss.parameters()]  # all labels follow all
        >>> loss(torch.zeros(1, 2, 3), torch.tensor([[0, 2]])).detach()  # log 9 for two tokens
        tensor(1.0986)
        >>> loss.decode(torch.tensor([[[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]]))
        [[1, 0]]
    """

    decodings: ClassVar[tuple[str, ...]] = ("score",)

    def __init__(
        self,
        num_labels: int,
        label_names: Sequence[str] | None = None,
        constraints: Scheme | Constraints | None = None,
        lr_multiplier: float = 1.0,
        rank: int | None = None,
        implementation: Implementation = "scan",
        reduction: Reduction = "token",
    ) -> None:
        super().__init__(num_labels, label_names, constraints, reduction)
        if implementation not in IMPLEMENTATIONS:
            raise ValueError(
                f"implementation must be one of {', '.join(IMPLEMENTATIONS)}, not {implementation}"
            )
        if num_labels > MANY_LABELS and rank is not None:
            raise ValueError(
                f"rank={rank} for {num_labels} labels: low rank does not help a CRF, its "
                "normaliser needs the full matrix; use loss=memm"
            )
        self.implementation = implementation
        self.transitions = Transitions(num_labels, lr_multiplier, rank)

    def _log_prob(
        self, logits: Float[Tensor, "b t c"], labels: Int[Tensor, "b t"], lengths: Int[Tensor, " b"]
    ) -> Float[Tensor, " b"]:
        pairwise = self.transitions().to(logits.dtype)
        log_z = log_partition(logits, pairwise, lengths, self.implementation)
        score = path_score(logits, pairwise, labels, lengths)
        return (score - log_z).to(logits.dtype)

    def _decode(
        self, logits: Float[Tensor, "b t c"], lengths: Int[Tensor, " b"], decoding: str
    ) -> list[list[int]]:
        del decoding
        pairwise = self.transitions().to(logits.dtype)
        return best_path(logits, pairwise, lengths, self.constraints)
