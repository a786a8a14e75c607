"""From a source to a target with one network: the mask does it."""

import time
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torchmetrics.text import BLEUScore

from suexp.data.base import Data
from suexp.decoding.base import Decoding, Forbid
from suexp.errors import one_of
from suexp.nn.overlap import UNITS, main_score, ngram_precision, rouge_l, rouge_n, units
from suexp.task._mean import weighted_mean
from suexp.task.base import Task

IGNORE = -100
ROUGE = {
    "rouge_1": partial(rouge_n, n=1),
    "rouge_2": partial(rouge_n, n=2),
    "rouge_l": rouge_l,
    "main": main_score,
}


class Seq2Seq(Task):
    r"""Predict a target behind its source: $L = -\frac1{|T|}\sum_{t \in T}\log p(y_t|x, y_{<t})$.

    Source and target stand in one row $x\,e\,y\,e$; T are the target's tokens and the one that
    closes it, over the whole batch. With mask=prefix the source is seen whole
    (UniLM), with mask=causal from left to right like the target; the same model does either.

    Batches hold ``tokens``, ``keep``, ``segments`` (B, n) and ``prefix_length`` (B,), see
    `suexp.data.joining`. Logged: ``val/loss``, the target's nats per token; when training is over,
    of what is generated for the first ``generate_rows`` texts of the validation split,
    ``val/rouge_1``, ``val/rouge_2`` and ``val/rouge_l`` (mean F of single words, of pairs and of
    the longest common subsequence), ``val/main`` (.2, .4 and .4 of the three), ``val/bleu`` (BLEU-4
    of the corpus, smoothed by adding one), ``val/source_ngram_precision`` (mean share of the pairs
    of neighbours that stand in the source, too; 0 in a text of one word) and
    ``val/generated_tokens_per_second``.

    References: https://kexue.fm/archives/6933; on ``main`` https://kexue.fm/archives/8046; Dong et
    al., UniLM, arXiv:1905.03197; Papineni et al., BLEU, https://aclanthology.org/P02-1040.

    Args:
        decoding: how targets are generated; None: none are.
        loss_on: ``target``, or ``all`` tokens but the first: a language model's loss on the source
            as well, for mask=causal.
        generate_rows: texts of the validation split that are generated.
        max_target: the most tokens of a generated target.
        unit: what overlaps are counted in: ``word``, what stands between blanks; ``alphanumeric``,
            words without punctuation; or, for Chinese, ``character``.

    Raises:
        ValueError: a number out of range.
    """

    provides: ClassVar[set[str]] = {"generation", "prefix_length"}
    asks: ClassVar[set[str]] = {"index"}
    needs: ClassVar[dict[str, str]] = {
        "targets": "its rows have a source and a target; use data=docstring_summary, or data=files "
        "with data.kind=seq2seq",
        "model": "use model=transformer or model=encoder_decoder",
        "autoregressive": "a token must not see the one it predicts; use mask=prefix or "
        "mask=causal",
    }
    refuses: ClassVar[dict[str, str]] = {
        "fixed_prefix": "the prefix is the source, of another length in each row; set "
        "mask.length=null",
        "mask=prefix if loss_on=all": "a source token sees the one it predicts; use mask=causal or "
        "task.loss_on=target",
        "model=encoder_decoder if loss_on=all": "the encoder predicts nothing; use "
        "task.loss_on=target",
    }

    def __init__(
        self,
        decoding: Decoding | None = None,
        loss_on: Literal["target", "all"] = "target",
        generate_rows: int = 64,
        max_target: int = 32,
        unit: Literal["word", "character", "alphanumeric"] = "word",
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        if loss_on not in ("target", "all"):
            raise ValueError(f"loss_on must be target or all, not {loss_on}")
        one_of(UNITS, unit=unit)
        if generate_rows < 0 or max_target < 1:
            raise ValueError(
                f"generate_rows {generate_rows} must be at least 0, max_target {max_target} "
                "at least 1"
            )
        self.decoding, self.loss_on, self.unit = decoding, loss_on, unit
        self.generate_rows, self.max_target = generate_rows, max_target
        self.val_loss = weighted_mean()
        self.rouge = nn.ModuleDict({name: weighted_mean() for name in ROUGE})
        self.copied = weighted_mean()
        self.bleu = BLEUScore(smooth=True)
        self._speed = [0.0, 0.0]  # tokens, seconds

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the vocabulary size."""
        return {"vocab_size": data.sizes["vocab_size"]}

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean loss over the tokens that count."""
        return self.loss(*self.predict(batch, self.loss_on))

    def terms(self, batch: dict[str, Tensor]) -> Tensor:
        """Return how many tokens count."""
        return _counting(batch, self.loss_on).sum()

    def questions(
        self, batch: dict[str, Tensor], loss_on: str | None = None
    ) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b n"]]:
        """Return what the model reads, and what it should answer at each place; IGNORE: nothing.

        Args:
            batch: its ``inputs`` (B, n), where a method put some, are read in the tokens' place;
                the answers stay the tokens.
            loss_on: which tokens count; None: those of training.
        """
        at = _counting(batch, loss_on or self.loss_on)
        inputs = batch.get("inputs", batch["tokens"])
        return inputs[:, :-1], batch["tokens"][:, 1:].masked_fill(~at, IGNORE)

    def predict(
        self, batch: dict[str, Tensor], loss_on: str
    ) -> tuple[Float[Tensor, "k v"], Int[Tensor, " k"]]:
        """Return the logits at the places whose next token counts, and that token."""
        inputs, target = self.questions(batch, loss_on)
        at = target != IGNORE
        logits = self.model(
            inputs,
            batch["keep"][:, :-1],
            batch["segments"][:, :-1],
            at=at,
            prefix_length=batch["prefix_length"],
        )
        return logits, target[at]

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch's loss; at the end of training, generate targets."""
        del batch_idx
        logits, target = self.predict(batch, "target")
        loss = self.normalizer.cross_entropy(logits, target)
        self.val_loss.update(loss / len(target), weight=len(target))
        if self._writes():
            chosen = batch["index"] < self.generate_rows
            if chosen.any():
                self._generate({name: value[chosen] for name, value in batch.items()})

    def on_validation_epoch_end(self) -> None:
        """Log the target's loss, and what was generated."""
        figures = {"val/loss": self.val_loss.compute()}
        self.val_loss.reset()
        if self._writes():
            others = {"bleu": self.bleu, "source_ngram_precision": self.copied}
            for name, metric in [*self.rouge.items(), *others.items()]:
                figures[f"val/{name}"] = metric.compute()  # type: ignore[operator]
                metric.reset()  # type: ignore[operator]
            tokens, seconds = self._speed
            self.final["val/generated_tokens_per_second"] = tokens / max(seconds, 1e-9)
            self._speed = [0.0, 0.0]
        self.report(figures)

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        written = () if self.decoding is None else (*ROUGE, "bleu", "source_ngram_precision")
        return super().worst(split) | {f"{split}/{name}": 0.0 for name in written}

    def _writes(self) -> bool:
        """Tell whether this validation writes texts: no training follows it.

        It is the same for all processes, which wait for each other's figures.
        """
        if self.decoding is None or self.generate_rows == 0:
            return False
        last = self.trainer.max_steps
        over = self.trainer.state.fn != "fit"  # Lightning validates, and does not train, in both
        return over or last == -1 or self.global_step >= last

    def write(
        self, batch: dict[str, Tensor], generator: torch.Generator | None = None
    ) -> list[list[int]]:
        """Return the tokens of the target that is generated for each source.

        Args:
            batch: the sources; targets are not looked at.
            generator: of the draws, where there are any; None: torch's own.
        """
        assert self.decoding is not None
        tokenizer: Any = self.data.tokenizer_  # type: ignore[attr-defined]
        width = int(batch["prefix_length"].max())
        prompt, keep = batch["tokens"][:, :width], batch["keep"] & (batch["segments"] == 0)
        never = Forbid(sorted(tokenizer.special - {tokenizer.eot_id}))
        added = [method.constraints(self, batch) for method in self._methods()]
        new = self.decoding(
            self.model,
            prompt,
            self.max_target,
            end=tokenizer.eot_id,
            keep=keep[:, :width],
            segments=torch.zeros_like(prompt),
            new_segment=1,
            constraints=[never, *(one for some in added for one in some)],
            generator=generator,
            normalizer=self.normalizer,
            prefix_length=batch["prefix_length"],
        )
        return new.texts(tokenizer.eot_id)

    def _generate(self, batch: dict[str, Tensor]) -> None:
        tokenizer: Any = self.data.tokenizer_  # type: ignore[attr-defined]
        start = time.perf_counter()
        written = self.write(batch)
        self._speed[0] += sum(map(len, written))
        self._speed[1] += time.perf_counter() - start
        for row, tokens in enumerate(written):
            source, reference = (
                tokenizer.decode(batch["tokens"][row][batch["keep"][row] & part[row]].tolist())
                for part in (batch["segments"] == 0, batch["segments"] == 1)
            )
            text = tokenizer.decode(tokens)
            found, expected = units(text, self.unit), units(reference, self.unit)
            for name, overlap in ROUGE.items():
                self.rouge[name].update(overlap(found, expected))  # type: ignore[operator]
            self.copied.update(ngram_precision(found, units(source, self.unit)))
            self.bleu.update([" ".join(found)], [[" ".join(expected)]])
            if self.generated is None:
                self.generated = f"{source}\n-> {text}\n   ({reference})"

    def finish(self) -> str | None:
        """Return a source of the validation split, what was generated for it, and its target.

        The table ``mask`` gets what the mask allows in a row of six source and six target tokens.
        """
        mask = self.model.mask.bind(prefix_length=torch.tensor([6]))
        table = mask.dense(12, 12)
        visible = torch.ones(12, 12) if table is None else table.reshape(12, 12).float()
        rows = [
            {"query": query, "key": key, "visible": value}
            for query, row in enumerate(visible.tolist())
            for key, value in enumerate(row)
        ]
        self.record_rows("mask", rows)
        return self.generated


def _counting(batch: dict[str, Tensor], loss_on: str) -> Bool[Tensor, "b n"]:
    """Return the places whose next token counts."""
    return batch["keep"][:, 1:] if loss_on == "all" else batch["segments"][:, 1:] == 1
