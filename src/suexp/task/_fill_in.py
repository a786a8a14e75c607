"""What tasks that predict tokens from both sides share."""

from typing import Any, ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor

from suexp.data.base import Data
from suexp.task._mean import weighted_mean
from suexp.task.base import Task

IGNORE = -100


class FillIn(Task):
    """Asks at some places of a text which token stands there; logs loss and accuracy of these.

    A subclass says what the model reads and where it is asked (`questions`), and how probable each
    token of a text is, given all others (`log_likelihoods`).
    """

    provides: ClassVar[set[str]] = {"language_model", "fill_in"}
    asks: ClassVar[set[str]] = {"index"}
    needs: ClassVar[dict[str, str]] = {
        "text": "it reads text; use data=pydoc",
        "model": "use model=transformer",
        "mask": "use mask=bidirectional",
    }
    refuses: ClassVar[dict[str, str]] = {
        "autoregressive": "it predicts a token from both sides; use mask=bidirectional",
        "labels": "it reads running text, not labelled rows; use data.kind=lm, or another task",
        "label_sets": "it reads running text, not labelled rows; use data.kind=lm, or another task",
        "quantities": "it reads running text, not rows with numbers; use data.kind=lm, or another "
        "task",
        "tags": "its rows are single texts with tags, not running text; use data.kind=lm, or "
        "task=tagging",
        "pairs": "it reads running text, not pairs of texts; use data.kind=lm, or task=matching",
        "targets": "its rows are sources with targets, not running text; use data.kind=lm, or "
        "task=seq2seq",
        "sentences": "its rows are single sentences, not running text; use data.kind=lm, or "
        "task=autoencode_text",
    }

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.val_loss = weighted_mean()
        self.val_accuracy = weighted_mean()

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the vocabulary size."""
        return {"vocab_size": data.sizes["vocab_size"]}

    @property
    def mask_id(self) -> int:
        """The token that stands for a hidden one."""
        return int(self.data.tokenizer_.mask_id)  # type: ignore[attr-defined]

    def ordinary(self, tokens: Int[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
        """Return True for tokens of the text itself, False for padding and ends of texts."""
        tokenizer = self.data.tokenizer_  # type: ignore[attr-defined]
        return (tokens != tokenizer.eot_id) & (tokens != tokenizer.pad_id)

    def questions(
        self, tokens: Int[Tensor, "b n1"], rows: Int[Tensor, " b"] | None = None
    ) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b n"]]:
        """Return what the model reads, and what it should answer at each place.

        Args:
            tokens: the texts.
            rows: a number for each text, on which alone depends what is drawn for it; None: it is
                drawn anew each time.
        """
        raise NotImplementedError

    def log_likelihoods(
        self,
        tokens: Int[Tensor, "b n"],
        keep: Bool[Tensor, "b n"] | None = None,
        chunk_tokens: int = 16384,
    ) -> Float[Tensor, "b n"]:
        r"""Return $\log p(x_i | x_{j \ne i})$ in nats; 0 at padding and ends of texts.

        Their sum over a text is its pseudo-log-likelihood.

        Args:
            tokens: the texts.
            keep: True for real tokens, False for padding; None: all are real.
            chunk_tokens: tokens that the model reads at a time; it changes no result.
        """
        raise NotImplementedError

    def asked(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what the model reads, and the targets: drawn for the rows of all processes."""
        rank, processes = self.place
        rows = batch["tokens"].repeat_interleave(processes, 0)
        inputs, target = (x[rank::processes] for x in self.questions(rows))
        return batch | {"tokens": inputs, "target": target}

    def terms(self, batch: dict[str, Tensor]) -> Tensor:
        """Return how many places are asked for."""
        return (batch["target"] != IGNORE).sum()

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean loss over the places that are asked for."""
        return self.loss(*self._predict(batch))

    def _predict(
        self, batch: dict[str, Tensor], rows: Int[Tensor, " b"] | None = None
    ) -> tuple[Float[Tensor, "k v"], Int[Tensor, " k"]]:
        """Return the logits of the places that are asked for, and what stands there."""
        inputs, target = batch["tokens"], batch.get("target")
        if target is None:
            inputs, target = self.questions(inputs, rows)
        at = target != IGNORE
        return self.model(inputs, at=at), target[at]

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        return super().worst(split) | {f"{split}/accuracy": 0.0}

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch's loss and accuracy."""
        del batch_idx
        logits, target = self._predict(batch, batch["index"])
        if len(target) == 0:
            return
        loss = self.normalizer.cross_entropy(logits, target)
        self.val_loss.update(loss / len(target), weight=len(target))
        self.val_accuracy.update((self.normalizer.best(logits) == target).float())

    def on_validation_epoch_end(self) -> None:
        """Log the loss in nats per token asked for and the share predicted right."""
        loss, accuracy = self.val_loss.compute(), self.val_accuracy.compute()
        self.report({"val/loss": loss, "val/accuracy": accuracy})
        self.val_loss.reset()
        self.val_accuracy.reset()
