"""Maximum-entropy Markov model, in one direction or both (https://kexue.fm/archives/7213)."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from suexp.loss._chain import Constraints, best_path
from suexp.loss._tagging import Reduction, Scheme, TaggingLoss, Transitions


class Memm(TaggingLoss):
    r"""$\log p(y|x) = \log p(y_1) + \sum_{k \ge 2} \log p(y_k | y_{k-1})$, each step by itself.

    $p(y_1) = \mathrm{softmax}(f_1)_{y_1}$, $p(y_k | y_{k-1}) = \mathrm{softmax}_j(f_k(j) +
    g(y_{k-1}, j))_{y_k}$ with the emissions f of a CRF, the logits (B, T, C), and its transitions g
    (C, C); but the normaliser of a step only needs the true label before it, so all steps are
    computed at once. Labels and mask are (B, T).

    ``bidirectional`` averages this with the same from right to left, $p(y_k | y_{k+1}) =
    \mathrm{softmax}_i(f_k(i) + g(i, y_{k+1}))_{y_k}$ from a row's last real step on: no new
    parameter, and no normalised likelihood either, for $\sum_y \sqrt{p_\to p_\gets} \le 1$.

    Labels are found by Viterbi's algorithm on the score s(y) of a CRF, as the post does
    (``score``), or on the log-probability that was trained (``exact``). The latter costs no more:
    a normaliser $z_k(i) = \log \sum_j e^{f_k(j) + g(i, j)}$ depends on one label only and counts as
    an emission, $f_{k-1}(i) - z_k(i)$.

    References: McCallum et al., Maximum Entropy Markov Models for Information Extraction and
    Segmentation, ICML 2000, https://dl.acm.org/doi/10.5555/645529.658277;
    https://kexue.fm/archives/7213; low-rank transitions: arXiv:1910.11555.

    Args:
        num_labels: C.
        label_names: the labels, for a scheme's constraints.
        constraints: the scheme (sbie, bio, bioes) whose rules the found labels obey, or
            `Constraints`; None: any labels. Normalisers run over all labels in any case.
        lr_multiplier: how much faster than the network's the transitions' learning rate is.
        rank: d of $g = L R^\top$, for which training needs T C d operations instead of C^2 numbers;
            None: the full table.
        bidirectional: average both directions.
        average_logits: $(f_k + g)/2$ in the place of $f_k + g$, as in the author's layer; ``score``
            stays the CRF's.
        decode: ``exact`` or ``score``.
        reduction: mean over the real tokens (``token``) or over the rows (``sequence``).

    Raises:
        ValueError: no labels, constraints that do not fit them or leave no path, an unknown
            decoding.

    Example:
        >>> import torch
        >>> from suexp.loss import Memm
        >>> loss = Memm(num_labels=3)
        >>> _ = [p.data.zero_() for p in loss.parameters()]  # all labels follow all
        >>> loss(torch.zeros(1, 2, 3), torch.tensor([[0, 2]])).detach()  # log 3 a token
        tensor(1.0986)
        >>> loss.decode(torch.tensor([[[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]]))
        [[1, 0]]
    """

    decodings: ClassVar[tuple[str, ...]] = ("exact", "score")

    def __init__(
        self,
        num_labels: int,
        label_names: Sequence[str] | None = None,
        constraints: Scheme | Constraints | None = None,
        lr_multiplier: float = 1.0,
        rank: int | None = None,
        bidirectional: bool = False,
        average_logits: bool = False,
        decode: Literal["exact", "score"] = "exact",
        reduction: Reduction = "token",
    ) -> None:
        super().__init__(num_labels, label_names, constraints, reduction)
        if decode not in self.decodings:
            raise ValueError(f"decode must be exact or score, not {decode}")
        self.bidirectional, self.scale = bidirectional, 0.5 if average_logits else 1.0
        self._decoding = decode
        self.transitions = Transitions(num_labels, lr_multiplier, rank)

    @property
    def decoding(self) -> str:
        """What ``decode`` says."""
        return self._decoding

    def _log_prob(
        self, logits: Float[Tensor, "b t c"], labels: Int[Tensor, "b t"], lengths: Int[Tensor, " b"]
    ) -> Float[Tensor, " b"]:
        first, last = _ends(logits, lengths)
        before = F.pad(self.transitions.rows(labels[:, :-1]), (0, 0, 1, 0))
        result = self._direction(logits, before, first, labels, lengths)
        if self.bidirectional:
            after = F.pad(self.transitions.columns(labels[:, 1:]), (0, 0, 0, 1))
            result = (result + self._direction(logits, after, last, labels, lengths)) / 2
        return result

    def _direction(
        self,
        logits: Float[Tensor, "b t c"],
        history: Float[Tensor, "b t c"],
        alone: Bool[Tensor, "b t 1"],
        labels: Int[Tensor, "b t"],
        lengths: Int[Tensor, " b"],
    ) -> Float[Tensor, " b"]:
        """Return one direction's log-probability; the step that stands alone has no history."""
        scores = torch.where(alone, logits, self.scale * (logits + history.to(logits.dtype)))
        loss = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none")
        real = torch.arange(labels.shape[1], device=labels.device) < lengths[:, None]
        return -torch.where(real, loss.view_as(labels), 0).sum(1)

    def _decode(
        self, logits: Float[Tensor, "b t c"], lengths: Int[Tensor, " b"], decoding: str
    ) -> list[list[int]]:
        pairwise = self.transitions().to(logits.dtype)
        if decoding == "exact":
            logits, pairwise = self._exact(logits, pairwise, lengths)
        return best_path(logits, pairwise, lengths, self.constraints)

    def _exact(
        self, f: Float[Tensor, "b t c"], g: Float[Tensor, "c c"], lengths: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b t c"], Float[Tensor, "c c"]]:
        """Return emissions and transitions whose score is log p, but for a constant of the row."""
        first, last = _ends(f, lengths)
        scaled, g = self.scale * f, self.scale * g
        following = F.pad(_normalisers(scaled[:, 1:], g), (0, 0, 0, 1)).masked_fill(last, 0)
        result = torch.where(first, f, scaled) - following
        if self.bidirectional:
            previous = F.pad(_normalisers(scaled[:, :-1], g.t()), (0, 0, 1, 0))
            result = (result + torch.where(last, f, scaled) - previous) / 2
        return result, g


def _ends(
    logits: Float[Tensor, "b t c"], lengths: Int[Tensor, " b"]
) -> tuple[Bool[Tensor, "b t 1"], Bool[Tensor, "b t 1"]]:
    """Return where each row's first and last real step are."""
    place = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
    return (place == 0).unsqueeze(-1), (place == lengths[:, None] - 1).unsqueeze(-1)


def _normalisers(f: Float[Tensor, "b t c"], g: Float[Tensor, "c c"]) -> Float[Tensor, "b t c"]:
    r"""Return $z_k(i) = \log \sum_j e^{f_k(j) + g(i, j)}$ by one product of matrices."""
    if f.shape[1] and f.device.type != "mps":
        top, most = f.amax(-1, keepdim=True), g.amax(-1, keepdim=True)
        total = (f - top).double().exp() @ (g - most).double().exp().t()
        if total.min() > 1e-280:  # else the largest of f and of g lie too far apart for float64
            return (total.log() + top + most.t()).to(f.dtype)
    steps = [torch.logsumexp(step.unsqueeze(1) + g, 2) for step in f.unbind(1)]
    return torch.stack(steps, 1) if steps else f
