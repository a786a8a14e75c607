"""Tagging: a label for each token, and the spans that the labels mark."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torchmetrics import Metric

from suexp.data.base import Data
from suexp.nn.tag_scheme import Spans, scheme_of
from suexp.task._clock import shortest_seconds
from suexp.task._mean import weighted_mean
from suexp.task.base import Task

IGNORE = -100
FEW = 32  # labels whose transitions fit into a picture


class Tagging(Task):
    r"""Find the labels $y_1 \ldots y_n$ of a text's tokens: $L = -\log p(y | f(x))$.

    Batches hold ``tokens``, ``keep`` and ``tags`` (batch, n); the model returns logits (batch, n,
    C), and the loss turns them into probabilities of label sequences and finds the best of these.

    Logged for validation, and for the test split where there is one: ``loss``, in nats per token;
    ``accuracy`` of tokens; ``f1`` of spans that have the right beginning, end and type, over all
    texts together; for the test also ``f1_NAME`` and ``accuracy_NAME`` for every way NAME in which
    the loss can find labels. Of a training step's forward and backward pass ``step_time`` is the
    processor's time in seconds, ``head_time`` the loss's part of it. The transitions are in the
    table ``transitions``, where labels are few.

    References: https://kexue.fm/archives/7213; F1 over spans, Tjong Kim Sang and De Meulder,
    https://aclanthology.org/W03-0419.

    Args:
        scheme: of the labels: ``sbie`` cuts a text into words, ``bio`` and ``bioes`` mark spans;
            None: the first of these that has all of their letters.
        timed_steps: how many steps are timed on the last batch, once training is over; the
            shortest counts. 0: none.
        timed_lengths: lengths n for which the loss is timed on random logits, of a batch's number
            of rows, with the backward pass; in the table ``head``.

    Raises:
        ValueError: labels that do not fit the scheme, a number that is negative.
    """

    needs: ClassVar[dict[str, str]] = {
        "tags": "it needs a tag for each token; use data=spaceless, or data.kind=tagging",
        "tagging_loss": "its loss judges a row of labels; use loss=crf, loss=memm or "
        "loss=softmax_tagging",
        "model": "use model=conv_tagger, model=bilstm or model=transformer",
    }

    def __init__(
        self,
        scheme: Literal["sbie", "bio", "bioes"] | None = None,
        timed_steps: int = 0,
        timed_lengths: Sequence[int] = (),
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        if timed_steps < 0 or min(timed_lengths, default=1) < 1:
            raise ValueError("timed_steps must be at least 0, timed_lengths at least 1")
        self.timed_steps, self.timed_lengths = timed_steps, list(timed_lengths)
        names = self.data.label_names  # type: ignore[attr-defined]
        spans = Spans(scheme or scheme_of(names), names, "task.scheme")
        self.mean_loss = weighted_mean()
        self.spans = nn.ModuleDict({name: SpanF1(spans) for name in self.loss.decodings})
        self._batch: dict[str, Tensor] = {}

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the sizes of the vocabulary and of the labels."""
        return {name: data.sizes[name] for name in ("vocab_size", "num_labels")}

    @staticmethod
    def loss_sizes(data: Data) -> dict[str, Any]:
        """Return the number of labels and their names."""
        names = data.label_names  # type: ignore[attr-defined]
        return {"num_labels": data.sizes["num_labels"], "label_names": names}

    def _judged(
        self, batch: dict[str, Tensor]
    ) -> tuple[Float[Tensor, "b n c"], Int[Tensor, "b n"], Bool[Tensor, "b n"]]:
        """Return logits, labels, and where there is one, without a tokenizer's own first tokens."""
        tags, mask = self._labels(batch)
        logits = self.model(batch["tokens"], keep=batch["keep"])
        return logits[:, -tags.shape[1] :], tags, mask

    def _labels(self, batch: dict[str, Tensor]) -> tuple[Int[Tensor, "b n"], Bool[Tensor, "b n"]]:
        tags = batch["tags"][:, len(self.data.tokenizer_.begin) :]  # type: ignore[attr-defined]
        return tags, tags != IGNORE

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the batch's loss."""
        if self.timed_steps:
            self._batch = batch
        return self.loss(*self._judged(batch))

    def terms(self, batch: dict[str, Tensor]) -> int | Tensor:
        """Return how many tokens, or texts, the loss is the mean of."""
        by_token = self.loss.reduction == "token"
        return self._labels(batch)[1].sum() if by_token else super().terms(batch)

    def on_train_end(self) -> None:
        """Take the time of steps that change nothing."""
        if self.timed_steps and self._batch:
            parameters = [p for m in self.trained for p in m.parameters() if p.requires_grad]
            logits, labels, mask = self._judged(self._batch)
            with torch.random.fork_rng():
                self.final["step_time"] = self._seconds(
                    lambda: torch.autograd.grad(
                        self.objective(self._batch), parameters, allow_unused=True
                    )
                )
            self.final["head_time"] = self._head_time(logits, labels, mask)
        classes, rows = self.data.sizes["num_labels"], self.data.batch_size
        for n in self.timed_lengths:
            generator = torch.Generator(self.device).manual_seed(n)
            logits = torch.randn(rows, n, classes, device=self.device, generator=generator)
            labels = torch.randint(classes, (rows, n), device=self.device, generator=generator)
            seconds = self._head_time(logits, labels, torch.ones_like(labels, dtype=torch.bool))
            self.record_rows("head", [{"n": n, "seconds": seconds}])

    def _head_time(self, logits: Tensor, labels: Tensor, mask: Tensor) -> float:
        leaf = logits.detach().requires_grad_()
        inputs = [leaf, *self.loss.parameters()]
        return self._seconds(lambda: torch.autograd.grad(self.loss(leaf, labels, mask), inputs))

    def _seconds(self, call: Any) -> float:
        return shortest_seconds(call, self.device, repeats=max(self.timed_steps, 3))

    def _evaluate(self, batch: dict[str, Tensor], decodings: Sequence[str]) -> None:
        logits, labels, mask = self._judged(batch)
        log_prob = self.loss.log_prob(logits, labels, mask)
        self.mean_loss.update(-log_prob.sum() / mask.sum(), weight=mask.sum())
        for name in decodings:
            found = self.loss.decode(logits, mask, name)
            self.spans[name].update(_table(found, labels), labels, mask)  # type: ignore[operator]

    def _finish_split(self, split: str, decodings: Sequence[str]) -> None:
        metrics = {f"{split}/loss": self.mean_loss.compute()}
        for name in decodings:
            accuracy, f1 = self.spans[name].compute()  # type: ignore[operator]
            if name == self.loss.decoding:
                metrics |= {f"{split}/accuracy": accuracy, f"{split}/f1": f1}
            if len(decodings) > 1:
                metrics |= {f"{split}/accuracy_{name}": accuracy, f"{split}/f1_{name}": f1}
            self.spans[name].reset()  # type: ignore[operator]
        self.report(metrics)
        self.mean_loss.reset()

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        several = split == "test" and len(self.loss.decodings) > 1
        ways = ["", *(f"_{name}" for name in self.loss.decodings if several)]
        shares = (f"{split}/{name}{way}" for way in ways for name in ("accuracy", "f1"))
        return super().worst(split) | dict.fromkeys(shares, 0.0)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch's loss and spans."""
        del batch_idx
        self._evaluate(batch, [self.loss.decoding])

    def on_validation_epoch_end(self) -> None:
        """Log the validation split's figures."""
        self._finish_split("val", [self.loss.decoding])

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch's loss and spans, found in every way."""
        del batch_idx
        self._evaluate(batch, self.loss.decodings)

    def on_test_epoch_end(self) -> None:
        """Log the test split's figures; keep the transitions."""
        self._finish_split("test", self.loss.decodings)
        names = self.data.label_names  # type: ignore[attr-defined]
        if hasattr(self.loss, "transitions") and len(names) <= FEW:
            table = self.loss.transitions().tolist()
            rows = [
                {"before": names[i], "after": names[j], "score": score}
                for i, row in enumerate(table)
                for j, score in enumerate(row)
            ]
            self.record_rows("transitions", rows)


class SpanF1(Metric):
    """Accuracy of labels and F1 of spans, over all batches and processes together."""

    full_state_update = False
    counts: Tensor

    def __init__(self, spans: Spans) -> None:
        super().__init__()
        self.marks = spans
        self.add_state("counts", torch.zeros(5, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self, found: Int[Tensor, "b n"], wanted: Int[Tensor, "b n"], mask: Bool[Tensor, "b n"]
    ) -> None:
        """Add a batch; labels of padding may be anything."""
        wanted = wanted.masked_fill(~mask, 0)
        right = ((found == wanted) & mask).sum()
        spans = self.marks.count(found, wanted, mask)
        self.counts += torch.cat((torch.stack((right, mask.sum())), spans))

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return accuracy and F1; where there is no span on either side F1 is 1."""
        right, tokens, both, ours, theirs = self.counts.tolist()
        f1 = 2 * both / (ours + theirs) if ours + theirs else 1.0
        return torch.tensor(right / tokens), torch.tensor(f1)


def _table(rows: list[list[int]], like: Int[Tensor, "b n"]) -> Int[Tensor, "b n"]:
    """Return rows of labels as one tensor, with 0 at the end of short ones."""
    width = like.shape[1]
    return torch.tensor([row + [0] * (width - len(row)) for row in rows], device=like.device)
