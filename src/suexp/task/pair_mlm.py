"""Do two texts say the same? A masked language model answers, in a word of its own."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics.classification import BinaryAUROC

from suexp.data.base import Data
from suexp.task._fill_in import IGNORE
from suexp.task._mean import weighted_mean
from suexp.task._splits import Evaluated
from suexp.task.masked_lm import MaskedLM

FRAME = 3  # tokens of a row that are of no text: its first, and one that closes each text


class PairMLM(Evaluated, MaskedLM):
    r"""$L = -\frac1Z \left(\sum_{t \in M} \log p_t(x_t) + w \sum_{i \in K} \log p_0(y_i)\right)$.

    A pair is one row, ``[CLS] a [SEP] b [SEP]``. M are the hidden tokens of both texts, as in
    task=masked_lm (of the 15 % that are asked for 80 % become the mask token, 10 % another ordinary
    token), and K the pairs with a label: at their first token the model answers with one of two
    reserved tokens, y = [NO] or [YES], from the row with its hidden tokens, over the whole
    vocabulary. Z = \|M\| + w \|K\|: one loss is classification, training on the domain's texts and,
    with pairs that have no label, learning from these. A batch of which nothing is asked has the
    loss 0. In training a and b change places with probability 1/2.

    A row has at most ``data.block_size`` tokens: of two texts that are too long together the longer
    one is cut at its end first. Batches hold ``tokens_a``, ``keep_a`` (B, n), ``tokens_b``,
    ``keep_b`` (B, m), and ``match`` and ``labelled`` (B,) where labels are known, see
    `suexp.data.pairing`; without ``labelled`` every ``match`` counts.

    Logged for validation, and for the test split where there is one: the loss, with tokens hidden
    that depend on the row's number alone; ``mlm_loss``, that of the hidden tokens; and ``auc``, the
    area under the curve of the score $p_{YES} / (p_{YES} + p_{NO}) = \sigma(z_{YES} - z_{NO})$,
    with nothing hidden. Equal scores count half. A split without labels of both kinds has no auc.

    References: https://kexue.fm/archives/8213; the answer in a word: Schick & Schütze,
    arXiv:2001.07676, https://kexue.fm/archives/7764.

    Args:
        mask_ratio: share of the texts' tokens to predict, 0.15 in the post; 0: labels alone.
        keep_ratio: share of these that stay as they are, 0.1 in the post.
        random_ratio: share of these that become another ordinary token, 0.1 in the post.
        label_weight: w, of a label among the places that are asked for; 1 in the post.
        swap: a and b change places in training with probability 1/2.
        tta_swap: the score is the mean of both orders'.

    Raises:
        ValueError: a number out of range.
        UserError: data without two reserved tokens and a first one, rows too short for two texts.
    """

    provides: ClassVar[set[str]] = {"masked pairs"}
    needs: ClassVar[dict[str, str]] = {
        "pairs": "it reads pairs of texts; use data=pairs_prose, or data.kind=pairs",
        "model": "it answers with its head for masked tokens; use model=transformer",
        "mask": "use mask=bidirectional",
    }
    refuses: ClassVar[dict[str, str]] = {
        "autoregressive": "it predicts a token from both sides; use mask=bidirectional",
    }

    words: Tensor

    def __init__(
        self,
        mask_ratio: float = 0.15,
        keep_ratio: float = 0.1,
        random_ratio: float = 0.1,
        label_weight: float = 1.0,
        swap: bool = True,
        tta_swap: bool = False,
        **parts: Any,
    ) -> None:
        if not 0 <= mask_ratio < 1:
            raise ValueError(f"mask_ratio must lie in [0, 1), not {mask_ratio}")
        if label_weight < 0:
            raise ValueError(f"label_weight must be at least 0, not {label_weight}")
        super().__init__(mask_ratio or 0.5, keep_ratio, random_ratio, **parts)
        self.mask_ratio, self.label_weight = mask_ratio, label_weight
        self.swap, self.tta_swap = swap, tta_swap
        self.val_mlm_loss = weighted_mean()
        self.val_labels = weighted_mean()
        self.auc = BinaryAUROC()
        tokenizer: Any = self.data.tokenizer_  # type: ignore[attr-defined]
        self.width = int(self.data.block_size)  # type: ignore[attr-defined]
        _check(tokenizer, self.width)
        self.answers = tokenizer.reserved[:2]
        self.register_buffer("words", torch.from_numpy(tokenizer.ordinary), persistent=False)

    @property
    def room(self) -> int:
        """How many tokens both texts have together, at most."""
        return self.width - FRAME

    def ordinary(self, tokens: Int[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
        """Return True for tokens of the texts."""
        special = sorted(self.data.tokenizer_.special)  # type: ignore[attr-defined]
        return ~torch.isin(tokens, torch.tensor(special, device=tokens.device))

    def other(self, draws: Float[Tensor, "b n"]) -> Int[Tensor, "b n"]:
        """Return an ordinary token for each number from 0 to 1."""
        return self.words[(draws * len(self.words)).long()]

    def joined(
        self, batch: dict[str, Tensor], swap: Bool[Tensor, " b"] | None = None
    ) -> tuple[Int[Tensor, "b n"], Bool[Tensor, "b n"]]:
        """Return the rows, and where they hold real tokens; all of them ``width`` long.

        Args:
            batch: the pairs.
            swap: which of them begin with b; None: none.
        """
        tokenizer: Any = self.data.tokenizer_  # type: ignore[attr-defined]
        before, around = len(tokenizer.begin), len(tokenizer.begin) + len(tokenizer.end)
        sides = [batch[f"tokens_{side}"][:, before:] for side in "ab"]
        wide = max(x.shape[1] for x in sides)
        first, second = (F.pad(x, (0, wide - x.shape[1])) for x in sides)
        n, m = (batch[f"keep_{side}"].sum(1) - around for side in "ab")
        if swap is not None:
            first, second = first.where(~swap[:, None], second), second.where(~swap[:, None], first)
            n, m = n.where(~swap, m), m.where(~swap, n)
        n, m = (x[:, None] for x in cut(n, m, self.room))
        place = torch.arange(self.width, device=n.device)[None]
        source = torch.where(place <= n, place - 1, wide + place - n - 2)
        texts = torch.cat((first, second), 1).gather(1, source.clamp(0, 2 * wide - 1))
        closing = (place == n + 1) | (place == n + m + 2)
        keep = place < n + m + FRAME
        tokens = texts.masked_fill(closing, tokenizer.eot_id).masked_fill(
            place == 0, tokenizer.begin[-1]
        )
        return tokens.masked_fill(~keep, tokenizer.pad_id), keep

    def asks_of(
        self,
        batch: dict[str, Tensor],
        swap: Bool[Tensor, " b"] | None = None,
        rows: Int[Tensor, " b"] | None = None,
    ) -> dict[str, Tensor]:
        """Return what the model reads, ``tokens`` and ``keep``, and the ``target`` (B, n).

        Args:
            batch: the pairs.
            swap: which of them begin with b.
            rows: a number for each pair, on which alone depends what is hidden; None: it is drawn.
        """
        tokens, keep = self.joined(batch, swap)
        inputs, target = self.hide(tokens, rows)
        if "match" in batch:
            no, yes = self.answers
            answer = torch.where(batch["match"], yes, no)
            known = batch.get("labelled", torch.ones_like(batch["match"]))
            target[:, 0] = answer.where(known, IGNORE)
        used = int(keep.sum(1).max())
        return {"tokens": inputs[:, :used], "keep": keep[:, :used], "target": target[:, :used]}

    def asked(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what the model reads, and the targets: drawn for the rows of all processes."""
        rank, processes = self.place
        rows = {
            name: value.repeat_interleave(processes, 0)
            for name, value in batch.items()
            if name in ("tokens_a", "tokens_b", "keep_a", "keep_b", "match", "labelled")
        }
        swap = None
        if self.swap:
            count = len(rows["tokens_a"])
            swap = torch.rand(count, device=rows["tokens_a"].device) < 0.5
        asked = self.asks_of(rows, swap)
        return batch | {name: value[rank::processes] for name, value in asked.items()}

    def terms(self, batch: dict[str, Tensor]) -> Tensor:
        """Return Z, the places that are asked for, labels by their weight."""
        target = batch["target"]
        labels = (target[:, 0] != IGNORE).sum()
        return (target != IGNORE).sum() + (self.label_weight - 1) * labels

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of the places that are asked for; 0 where none is."""
        if "target" not in batch:
            batch = self.asked(batch)
        logits, target, labels = self._answered(batch)
        if len(target) == 0:
            return logits.sum() * 0
        if self.label_weight == 1:
            return self.loss(logits, target)
        counts = [(~labels).sum(), self.label_weight * labels.sum()]
        parts = [
            count * self.loss(logits[at], target[at])
            for count, at in zip(counts, (~labels, labels), strict=True)
            if at.any()
        ]
        return sum(parts[1:], parts[0]) / (counts[0] + counts[1]).clamp(min=1e-9)

    def _answered(
        self, batch: dict[str, Tensor]
    ) -> tuple[Float[Tensor, "k v"], Int[Tensor, " k"], Bool[Tensor, " k"]]:
        """Return the logits of the places that are asked for, the answers, and which are labels."""
        target = batch["target"]
        at = target != IGNORE
        first = torch.zeros_like(at)
        first[:, 0] = True
        return self.model(batch["tokens"], keep=batch["keep"], at=at), target[at], first[at]

    def score(self, batch: dict[str, Tensor]) -> Float[Tensor, " b"]:
        """Return the probability of [YES] against [NO], with nothing hidden."""
        scores = [self._score(batch, torch.zeros_like(batch["keep_a"][:, 0]))]
        if self.tta_swap:
            scores.append(self._score(batch, torch.ones_like(batch["keep_a"][:, 0])))
        return torch.stack(scores).mean(0)

    def _score(self, batch: dict[str, Tensor], swap: Bool[Tensor, " b"]) -> Tensor:
        tokens, keep = self.joined(batch, swap)
        used = int(keep.sum(1).max())
        tokens, keep = tokens[:, :used], keep[:, :used]
        first = torch.zeros_like(keep)
        first[:, 0] = True
        no, yes = self.answers
        logits = self.model(tokens, keep=keep, at=first).float()
        return torch.sigmoid(logits[:, yes] - logits[:, no])

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Add the batch's losses and scores."""
        logits, target, labels = self._answered(self.asks_of(batch, rows=batch["index"]))
        for at, weight in ((labels, self.label_weight), (~labels, 1.0)):
            count = int(at.sum())
            loss = self.normalizer.cross_entropy(logits[at], target[at]) / max(count, 1)
            self.val_loss.update(loss, weight=weight * count)
        self.val_mlm_loss.update(loss, weight=count)
        match = batch.get("match", torch.zeros_like(batch["keep_a"][:, 0]))
        known = batch.get("labelled", torch.full_like(match, "match" in batch))
        self.val_labels.update(match.float(), weight=known.float())
        if known.any():
            self.auc.update(self.score(batch)[known], match[known].long())

    def finish_split(self, split: str) -> None:
        """Log a split's figures."""
        figures = {f"{split}/loss": self.val_loss.compute()}
        if self.mask_ratio:
            figures[f"{split}/mlm_loss"] = self.val_mlm_loss.compute()
        if 0 < self.val_labels.compute() < 1:  # the same in all processes
            figures[f"{split}/auc"] = self.auc.compute()
        self.report(figures)
        for metric in (self.val_loss, self.val_mlm_loss, self.val_labels, self.auc):
            metric.reset()

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        losses = dict.fromkeys((f"{split}/loss", f"{split}/mlm_loss"), float("inf"))
        return losses | {f"{split}/auc": 0.0}

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the vocabulary size."""
        return {"vocab_size": data.sizes["vocab_size"]}


def cut(
    n: Int[Tensor, " b"], m: Int[Tensor, " b"], room: int
) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
    """Return the lengths of two texts cut to ``room`` tokens together, the longer one first.

    Tokens go one by one, each from the text that is the longer one then, of equal ones from the
    first.

    Args:
        n: tokens of the first texts.
        m: tokens of the second texts.
        room: the most tokens of both.

    Example:
        >>> import torch
        >>> from suexp.task.pair_mlm import cut
        >>> [x.tolist() for x in cut(torch.tensor([9, 9]), torch.tensor([2, 9]), 7)]
        [[5, 3], [2, 4]]
    """
    first = torch.minimum(n, (room - m).clamp(min=room // 2))
    return first, torch.minimum(m, room - first)


def _check(tokenizer: Any, width: int) -> None:
    from suexp.errors import UserError

    if len(tokenizer.reserved) < 2:
        raise UserError(
            "task=pair_mlm answers with two tokens that no text has; set data.reserved=2"
        )
    if not tokenizer.begin:
        raise UserError("task=pair_mlm answers at a text's first token; set data.begin=true")
    if width < FRAME + 2:
        raise UserError(
            f"data.block_size={width}: a row of two texts has at least {FRAME + 2} tokens"
        )
