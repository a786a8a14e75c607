"""Masked language modelling."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import MeanMetric

from suexp.data.base import Data
from suexp.task.base import Task

IGNORE = -100


class MaskedLM(Task):
    r"""Predict hidden tokens: $L = -\frac1{|M|} \sum_{t \in M} \log p(x_t | \tilde x)$.

    Of the tokens (batch, n) a share ``mask_ratio`` is chosen; of these 80 % become the mask token,
    10 % a random token and 10 % stay. Validation hides the same tokens every time.

    Reference: Devlin et al., BERT, arXiv:1810.04805.

    Args:
        mask_ratio: share of tokens to predict (0.15 in BERT).
        keep_ratio: share of the chosen tokens that stay as they are (0.1 in BERT).
        random_ratio: share of the chosen tokens that become a random token (0.1 in BERT).

    Raises:
        ValueError: a ratio outside its range.
    """

    needs: ClassVar[dict[str, str]] = {
        "text": "it reads text; use data=pydoc",
        "model": "use model=transformer",
        "mask": "use mask=bidirectional",
    }
    refuses: ClassVar[dict[str, str]] = {
        "autoregressive": "it predicts a token from both sides; use mask=bidirectional",
        "labels": "it reads running text, not labelled rows; use data.kind=lm, or another task",
        "tags": "its rows are single texts with tags, not running text; use data.kind=lm, or "
        "task=tagging",
        "pairs": "it reads running text, not pairs of texts; use data.kind=lm, or task=matching",
        "targets": "its rows are sources with targets, not running text; use data.kind=lm, or "
        "task=seq2seq",
    }

    def __init__(
        self,
        mask_ratio: float = 0.15,
        keep_ratio: float = 0.1,
        random_ratio: float = 0.1,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio must be between 0 and 1, not {mask_ratio}")
        if min(keep_ratio, random_ratio) < 0 or keep_ratio + random_ratio > 1:
            raise ValueError(f"keep_ratio {keep_ratio} and random_ratio {random_ratio} exceed 1")
        self.mask_ratio, self.keep_ratio, self.random_ratio = mask_ratio, keep_ratio, random_ratio
        self.val_loss = MeanMetric()
        self.val_accuracy = MeanMetric()

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the vocabulary size."""
        return {"vocab_size": data.sizes["vocab_size"]}

    def hide(
        self, tokens: Int[Tensor, "b n"], generator: torch.Generator | None = None
    ) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b n"]]:
        """Return the tokens with some hidden, and the targets (ignored where nothing is hidden)."""
        tokenizer = self.data.tokenizer_  # type: ignore[attr-defined]

        def uniform() -> Tensor:
            return torch.rand(tokens.shape, generator=generator, device=tokens.device)

        special = (tokens == tokenizer.eot_id) | (tokens == tokenizer.pad_id)
        chosen = (uniform() < self.mask_ratio) & ~special
        fate = uniform()
        other = torch.randint(
            0,
            self.data.sizes["vocab_size"],
            tokens.shape,
            generator=generator,
            device=tokens.device,
        )
        hidden = chosen & (fate >= self.keep_ratio + self.random_ratio)
        swapped = chosen & (fate >= self.keep_ratio) & ~hidden
        inputs = tokens.masked_fill(hidden, tokenizer.mask_id).where(~swapped, other)
        return inputs, tokens.masked_fill(~chosen, IGNORE)

    def questions(
        self, tokens: Int[Tensor, "b n1"], generator: torch.Generator | None = None
    ) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b n"]]:
        """Return what the model reads, and what it should answer at each place."""
        return self.hide(tokens[:, :-1], generator)

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean loss over the hidden tokens."""
        return self.loss(*self._predict(batch))

    def _predict(
        self, batch: dict[str, Tensor], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "k v"], Int[Tensor, " k"]]:
        """Return the logits of the chosen tokens, and what they are."""
        inputs, target = self.questions(batch["tokens"], generator)
        at = target != IGNORE
        return self.model(inputs, at=at), target[at]

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch's loss and accuracy over hidden tokens."""
        generator = torch.Generator(self.device).manual_seed(batch_idx)
        logits, target = self._predict(batch, generator)
        if len(target) == 0:
            return
        loss = self.normalizer.cross_entropy(logits, target)
        self.val_loss.update(loss / len(target), weight=len(target))
        self.val_accuracy.update((self.normalizer.best(logits) == target).float())

    def on_validation_epoch_end(self) -> None:
        """Log the loss in nats per hidden token and the share predicted right."""
        loss, accuracy = self.val_loss.compute(), self.val_accuracy.compute()
        self.report({"val/loss": loss, "val/accuracy": accuracy})
        self.val_loss.reset()
        self.val_accuracy.reset()
