"""Language modelling from left to right."""

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from suexp.data.base import Data
from suexp.decoding.base import Decoding
from suexp.errors import at_least
from suexp.mask.prefix import Prefix
from suexp.task._mean import weighted_mean
from suexp.task.base import Task

IGNORE = -100


class CausalLM(Task):
    r"""Predict each token from those before it: $L = -\frac1N \sum_t \log p(x_{t+1} | x_{\le t})$.

    Batches hold ``tokens`` of shape (batch, block_size + 1); the model reads all but the last and
    is judged on all but the first. With a prefix mask (UniLM, https://kexue.fm/archives/6933) the
    targets inside the prefix, which the model can see, do not count.

    Logged: ``val/loss`` in nats per token; ``val/bits_per_byte``, the same per byte of text in
    bits, which compares across tokenizers; ``val/unigram_loss``, the loss of a model that knows
    only how frequent each token is.

    Reference: Bengio et al., A Neural Probabilistic Language Model,
    https://www.jmlr.org/papers/v3/bengio03a.html.

    Args:
        decoding: how the sample at the end of training is drawn; None: no sample.
        sample_prompt: the text that the sample continues.
        sample_tokens: how many tokens it adds; 0: no sample.
    """

    provides: ClassVar[set[str]] = {"generation", "language_model"}

    needs: ClassVar[dict[str, str]] = {
        "text": "it reads text; use data=pydoc",
        "model": "use model=transformer",
        "autoregressive": "a query must not see the token it predicts; use mask=causal",
    }

    refuses: ClassVar[dict[str, str]] = {
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

    def __init__(
        self,
        decoding: Decoding | None = None,
        sample_prompt: str = "The ",
        sample_tokens: int = 120,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        at_least(0, sample_tokens=sample_tokens)
        self.decoding = decoding
        self.sample_prompt, self.sample_tokens = sample_prompt, sample_tokens
        self.val_loss = weighted_mean()

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the vocabulary size."""
        return {"vocab_size": data.sizes["vocab_size"]}

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean loss over the tokens that count."""
        logits, target = self._predict(batch["tokens"])
        return self.loss(logits, target)

    def terms(self, batch: dict[str, Tensor]) -> Tensor:
        """Return how many tokens count."""
        return (self.questions(batch["tokens"])[1] != IGNORE).sum()

    def questions(
        self, tokens: Int[Tensor, "b n1"], rows: Int[Tensor, " b"] | None = None
    ) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b n"]]:
        """Return what the model reads, and what it should answer at each place."""
        del rows
        target = tokens[:, 1:]
        mask: Any = self.model.mask
        prefix = mask.find(Prefix)
        if prefix is not None:
            length = torch.as_tensor(prefix.length, device=target.device).reshape(-1, 1)
            seen = torch.arange(1, tokens.shape[1], device=target.device) < length
            target = target.masked_fill(seen, IGNORE)
        return tokens[:, :-1], target

    def log_likelihoods(
        self,
        tokens: Int[Tensor, "b n"],
        keep: Bool[Tensor, "b n"] | None = None,
        chunk_tokens: int = 16384,
    ) -> Float[Tensor, "b n"]:
        r"""Return $\log p(x_t | x_{<t})$ in nats, each text as one that begins; 0 at padding.

        Args:
            tokens: the texts.
            keep: True for real tokens, False for padding on the right; None: all are real.
            chunk_tokens: tokens that the model reads at a time; it changes no result.
        """
        end = self.data.tokenizer_.eot_id  # type: ignore[attr-defined]
        inputs = F.pad(tokens[:, :-1], (1, 0), value=end)
        found = [
            self.normalizer.log_prob(self.model(x).float()).gather(2, y[..., None])[..., 0]
            for x, y in zip(
                *(torch.split(z, max(chunk_tokens // z.shape[1], 1)) for z in (inputs, tokens)),
                strict=True,
            )
        ]
        likelihoods = torch.cat(found)
        return likelihoods if keep is None else likelihoods.masked_fill(~keep, 0)

    def _predict(
        self, tokens: Int[Tensor, "b n1"]
    ) -> tuple[Float[Tensor, "b n v"], Int[Tensor, "b n"]]:
        inputs, target = self.questions(tokens)
        return self.model(inputs), target

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch's negative log-likelihood, without label smoothing."""
        del batch_idx
        logits, target = self._predict(batch["tokens"])
        count = (target != IGNORE).sum()
        loss = self.normalizer.cross_entropy(
            logits.flatten(0, 1), target.flatten(), ignore_index=IGNORE
        )
        self.val_loss.update(loss / count.clamp(min=1), weight=count)

    def on_validation_epoch_end(self) -> None:
        """Log the loss in nats per token and in bits per byte."""
        loss = self.val_loss.compute()
        self.val_loss.reset()
        bytes_per_token = self.data.bytes_per_token("validation")  # type: ignore[attr-defined]
        bits_per_byte = loss / math.log(2) / bytes_per_token
        self.report({"val/loss": loss, "val/bits_per_byte": bits_per_byte})

    def on_fit_start(self) -> None:
        """Put the unigram model's loss beside ours."""
        self.final["val/unigram_loss"] = self.data.unigram_baseline()  # type: ignore[attr-defined]

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures; the unigram model's loss stays."""
        known = {name: self.final[name] for name in ("val/unigram_loss",) if name in self.final}
        return {**super().worst(split), f"{split}/bits_per_byte": math.inf, **known}

    def draw_sample(self, seed: int = 0) -> str:
        """Return the prompt and what the model writes after it."""
        assert self.decoding is not None
        tokenizer = self.data.tokenizer_  # type: ignore[attr-defined]
        prompt = torch.tensor([tokenizer.encode(self.sample_prompt)], device=self.device)
        generator = torch.Generator(self.device).manual_seed(seed)
        new = self.decoding(
            self.model,
            prompt,
            self.sample_tokens,
            generator=generator,
            normalizer=self.normalizer,
        )
        return tokenizer.decode(torch.cat((prompt, new.tokens), 1)[0].tolist())

    def finish(self) -> str | None:
        """Draw the sample, once training is over."""
        return self.draw_sample() if self.decoding and self.sample_tokens > 0 else None
