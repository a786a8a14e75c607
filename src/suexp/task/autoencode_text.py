"""Texts from codes of a fixed size, with one network."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.data.base import Data
from suexp.decoding.base import Decoding, Forbid
from suexp.errors import at_least
from suexp.mask.independent import Independent
from suexp.mask.uniae import UniAE
from suexp.nn.ramp import Number, ramp
from suexp.task._draws import generator_of
from suexp.task._mean import weighted_mean
from suexp.task.base import Task

IGNORE = -100


class AutoencodeText(Task):
    r"""Reconstruct: $L = -\frac1{|T|} \sum_t \log p(x_t | z, x_{<t}) + \frac\beta{|T|} K$.

    The model reads each text twice, and T are the tokens of the copies but for the first ones,
    ends included, over the whole batch. K is the sum over texts and layers of
    $\max(\mathrm{KL}_l, \lambda)$, where the KL depends on what is learned, that is with
    model.latent=gaussian; the constant one of vmf is logged only. A codebook's penalty is added as
    a mean over tokens. With beta = 1 and no free nats it is minus the evidence bound, per token.

    Batches hold ``tokens`` and ``keep`` (B, n), see `suexp.data.sentences`. Logged, with the codes'
    means: ``val/loss``, nats per token, ``val/accuracy``, the share of tokens predicted right after
    the true ones, and ``val/kl``, nats a text over all layers, where it is finite. The table
    ``mask`` has what the first and the last layers' masks allow in a row of six and six tokens.
    Shapes: codes (B, layers, d).

    References: https://kexue.fm/archives/8475; free nats: Kingma et al., Improving Variational
    Inference with Inverse Autoregressive Flow, arXiv:1606.04934; beta: Bowman et al., Generating
    Sentences from a Continuous Space, arXiv:1511.06349.

    Args:
        decoding: how texts are written; None: none are.
        beta: $\beta$, at least 0: a number, or ``{start: 0, end: 1, steps: 200}``, a ramp.
        free_bits: $\lambda$, the nats of each text's KL in a layer that cost the same as none.
        seed: of the codes that a sample is written from.

    Raises:
        ValueError: a number out of range.
    """

    provides: ClassVar[set[str]] = {"generation", "twice"}
    needs: ClassVar[dict[str, str]] = {
        "sentences": "it reads single texts in rows of one width; use data=docstring_sentences, or "
        "data=files with data.kind=sentences",
        "text_autoencoder": "it needs codes of a fixed size; use model=univae",
    }

    def __init__(
        self,
        decoding: Decoding | None = None,
        beta: Number = 1.0,
        free_bits: float = 0.0,
        seed: int = 0,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        at_least(0, free_bits=free_bits)
        self.decoding, self.free_bits, self.seed = decoding, free_bits, seed
        self.beta = ramp(beta, "task.beta", low=0)
        self.val_loss, self.val_accuracy, self.val_kl = (weighted_mean() for _ in range(3))

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the vocabulary size."""
        return {"vocab_size": data.sizes["vocab_size"]}

    def questions(
        self, batch: dict[str, Tensor]
    ) -> tuple[Int[Tensor, "b n2"], Int[Tensor, "b n2"]]:
        """Return what the model reads, each text twice, and what to answer; IGNORE: nothing."""
        tokens, keep = batch["tokens"], batch["keep"]
        answers = torch.full_like(tokens, IGNORE)
        following = torch.cat((tokens[:, 1:], answers[:, :1]), 1)
        counts = torch.cat((keep[:, 1:], torch.zeros_like(keep[:, :1])), 1)
        return torch.cat((tokens, tokens), 1), torch.cat(
            (answers, following.where(counts, IGNORE)), 1
        )

    def terms(self, batch: dict[str, Tensor]) -> Tensor:
        """Return how many tokens count."""
        return batch["keep"][:, 1:].sum()

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of the copies' tokens, and what the codes cost."""
        reading, target = self.read(batch)
        loss: Tensor = self.loss(reading.logits, target)
        lengths = batch["keep"][:, 1:].sum(1)
        loss = loss + (reading.penalty * lengths).sum() / lengths.sum()
        if self.model.trains_kl:
            kl = reading.kl.clamp(min=self.free_bits).sum()
            loss = loss + self.beta(self.global_step) * kl / lengths.sum()
        return loss

    def read(
        self, batch: dict[str, Tensor], codes: Float[Tensor, "b l d"] | None = None
    ) -> tuple[Any, Int[Tensor, " k"]]:
        """Return the model's reading of a batch, logits (k, v), and the tokens to predict."""
        inputs, target = self.questions(batch)
        at, keep = target != IGNORE, batch["keep"]
        return self.model.read(inputs, torch.cat((keep, keep), 1), at, codes), target[at]

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch's loss, accuracy and KL; at the end of training, write a text."""
        reading, target = self.read(batch)
        loss = self.normalizer.cross_entropy(reading.logits, target)
        self.val_loss.update(loss / len(target), weight=len(target))
        self.val_accuracy.update((self.normalizer.best(reading.logits) == target).float())
        if reading.kl.shape[1]:
            self.val_kl.update(reading.kl.sum(1))
        ends = self.trainer.max_steps in (-1, self.global_step)
        if batch_idx == 0 and ends and self.decoding is not None:
            self.generated = self._written(batch)

    def on_validation_epoch_end(self) -> None:
        """Log them."""
        figures = {"val/loss": self.val_loss.compute(), "val/accuracy": self.val_accuracy.compute()}
        if self.val_kl.update_called:
            kl = self.val_kl.compute()
            figures |= {} if kl.isnan() else {"val/kl": kl}
        for metric in (self.val_loss, self.val_accuracy, self.val_kl):
            metric.reset()
        self.report(figures)

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        return super().worst(split) | {f"{split}/accuracy": 0.0}

    def write(
        self,
        codes: Float[Tensor, "b l d"],
        decoding: Decoding | None = None,
        generator: torch.Generator | None = None,
    ) -> list[list[int]]:
        """Return the tokens of the text that is written for each text's codes.

        Args:
            codes: of some texts, or of the prior.
            decoding: how; None: the task's own.
            generator: of draws; None: torch's global one.
        """
        decoding = decoding or self.decoding
        assert decoding is not None
        data: Any = self.data
        tokenizer, width = data.tokenizer_, data.block_size
        begin = [*(tokenizer.begin or (tokenizer.eot_id,))]
        # The codes stand for the source, of which only the first place is read.
        source = [begin[0]] + [tokenizer.pad_id] * (width - 1)
        prompt = torch.tensor([source + begin], device=codes.device).expand(len(codes), -1)
        places = torch.arange(prompt.shape[1], device=codes.device).expand_as(prompt)
        never = {tokenizer.pad_id, tokenizer.mask_id, *tokenizer.begin} - {tokenizer.eot_id}
        new = decoding(
            self.model,
            prompt,
            width - len(begin),
            end=tokenizer.eot_id,
            keep=(places == 0) | (places >= width),
            segments=(places >= width).long(),
            new_segment=1,
            constraints=[Forbid(sorted(never))],
            generator=generator,
            normalizer=self.normalizer,
            codes=codes,
        )
        return new.texts(tokenizer.eot_id)

    def _written(self, batch: dict[str, Tensor]) -> str:
        """Return a text, what is written from its codes, and what from codes of no text."""
        tokenizer: Any = self.data.tokenizer_  # type: ignore[attr-defined]
        codes = self.model.encode(batch["tokens"][:1], batch["keep"][:1])
        generator = generator_of(self.device, self.seed, "prior")
        drawn = self.model.prior(1, generator).to(codes.dtype)
        told = [tokenizer.decode(x) for x in self.write(torch.cat((codes, drawn)), None, generator)]
        text = tokenizer.decode(batch["tokens"][0][batch["keep"][0]].tolist())
        return f"{text}\n-> {told[0]}\n   (from a random code: {told[1]})"

    def finish(self) -> str | None:
        """Record the two masks; return a text, what its code gives, and what a draw does."""
        places = torch.arange(12)
        masks = (("first", Independent(6)), ("last", UniAE(6)))
        self.record_rows(
            "mask",
            [
                {"layers": layers, "query": query, "key": key, "visible": float(value)}
                for layers, mask in masks
                for query, row in enumerate(mask.allowed(places[:, None], places[None]).tolist())
                for key, value in enumerate(row)
            ],
        )
        return self.generated
