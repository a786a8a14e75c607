"""Per-token softmax (https://kexue.fm/archives/5542): labels know nothing of each other."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.loss._chain import Constraints, best_path
from suexp.loss._tagging import Reduction, Scheme, TaggingLoss


class SoftmaxTagging(TaggingLoss):
    r"""$-\log p(y|x) = -\sum_k \log \mathrm{softmax}(f_k)_{y_k}$.

    Shapes: logits f (B, T, C), labels (B, T), mask (B, T). Finds the most probable label of each
    step (``argmax``), or the most probable path that the constraints allow (``viterbi``).

    Reference: https://kexue.fm/archives/5542; Collobert et al., Natural Language Processing
    (almost) from Scratch, arXiv:1103.0398, section 3.3.1.

    Args:
        num_labels: C.
        label_names: the labels, for a scheme's constraints.
        constraints: the scheme (sbie, bio, bioes) whose rules the found labels obey, or
            `Constraints`; None: any labels. Training does not look at them.
        reduction: mean over the real tokens (``token``) or over the rows (``sequence``).

    Raises:
        ValueError: no labels, constraints that do not fit them or leave no path.

    Example:
        >>> import torch
        >>> from suexp.loss import SoftmaxTagging
        >>> loss = SoftmaxTagging(num_labels=3)
        >>> loss(torch.zeros(1, 2, 3), torch.tensor([[0, 2]]))  # log 3 a token
        tensor(1.0986)
        >>> loss.decode(torch.tensor([[[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]]))
        [[1, 0]]
    """

    decodings: ClassVar[tuple[str, ...]] = ("viterbi", "argmax")

    def __init__(
        self,
        num_labels: int,
        label_names: Sequence[str] | None = None,
        constraints: Scheme | Constraints | None = None,
        reduction: Reduction = "token",
    ) -> None:
        super().__init__(num_labels, label_names, constraints, reduction)

    def _log_prob(
        self, logits: Float[Tensor, "b t c"], labels: Int[Tensor, "b t"], lengths: Int[Tensor, " b"]
    ) -> Float[Tensor, " b"]:
        own = torch.log_softmax(logits, -1).gather(2, labels.unsqueeze(-1)).squeeze(-1)
        real = torch.arange(labels.shape[1], device=labels.device) < lengths[:, None]
        return torch.where(real, own, 0).sum(1)

    def _decode(
        self, logits: Float[Tensor, "b t c"], lengths: Int[Tensor, " b"], decoding: str
    ) -> list[list[int]]:
        if decoding == "argmax" or self.constraints is None:
            rows = zip(logits.argmax(-1).tolist(), lengths.tolist(), strict=True)
            return [row[:n] for row, n in rows]
        none = logits.new_zeros(self.num_labels, self.num_labels)
        return best_path(logits, none, lengths, self.constraints)
