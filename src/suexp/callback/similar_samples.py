"""Similar sentences that a model writes, and how it ranks them."""

import itertools
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import UserError, at_least, between
from suexp.nn.replacement import generator_of
from suexp.nn.word_noise import noised
from suexp.task.similar_sentence import firsts

Ranked = list[tuple[str, float]]


class SimilarSamples(Callback, Component):
    r"""After training n sentences are written for each of some, and ranked by $\cos(v, v')$.

    Of the candidates that ``decoding`` draws (top_p = 0.95 in the post) those that are the sentence
    itself, or that were there before, are dropped; the rest is sorted by the cosine of its vector
    with the sentence's (`suexp.task.similar_sentence`). With ``hide`` so large a share of the
    sentence's words is hidden where it is read as the source: what stands in their place varies.
    Every run draws with the same generator.

    Final, over the first ``sentences`` of the validation split: ``val/samples_distinct_2``, the
    share of different pairs of neighbours among all those of a sentence's candidates (b, n);
    ``val/samples_cosine``, the candidates' mean cosine with their sentence; ``val/samples_new``,
    the share of them that are kept. The table ``samples`` has ``sentence``, ``rank``, ``sample``
    and ``cosine`` of the best.

    Post: https://kexue.fm/archives/8454; distinct-2: Li et al., arXiv:1510.03055.

    Args:
        sentences: how many are written for.
        candidates: n for each; 100 in the post.
        best: how many the table keeps of each; 20 in the post.
        hide: share of the sentence's words that are hidden.

    Raises:
        ValueError: a number out of range.
        UserError: the task has no decoding.
    """

    needs: ClassVar[dict[str, str]] = {
        "similar_sentences": "it writes similar sentences; use task=similar_sentence",
        "decoding": "nothing is written without; use decoding=sample",
    }

    def __init__(
        self, sentences: int = 20, candidates: int = 10, best: int = 3, hide: float | int = 0.0
    ) -> None:
        at_least(1, sentences=sentences, candidates=candidates, best=best)
        between("[0, 1]", hide=hide)
        self.sentences, self.candidates, self.best, self.hide = sentences, candidates, best, hide

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write, once training is over; every process writes the same."""
        if not is_last(trainer):
            return
        task: Any = pl_module
        batch = self._sources(task)
        written = self.write(task, batch)
        rows, cosines, distinct, kept = [], [], [], 0
        for row, found in enumerate(written):
            sentence = _text(task, batch, row)
            ranked = ranked_by_cosine(task, sentence, found)
            kept += len(ranked)
            cosines += [cosine for _, cosine in ranked]
            distinct.append(distinct_pairs(found))
            rows += [
                {"sentence": sentence, "rank": rank + 1, "sample": text, "cosine": cosine}
                for rank, (text, cosine) in enumerate(ranked[: self.best])
            ]
        task.tables.pop("samples", None)
        task.record_rows("samples", rows)
        task.final["val/samples_distinct_2"] = sum(distinct) / len(distinct)
        task.final["val/samples_new"] = kept / (len(written) * self.candidates)
        task.final["val/samples_cosine"] = sum(cosines) / max(len(cosines), 1)
        if rows and task.generated is None:
            task.generated = f"{rows[0]['sentence']}\n-> {rows[0]['sample']}"

    def _sources(self, task: Any) -> dict[str, Tensor]:
        """Return the first sentences of the split as a batch, each once."""
        rows = task.data.splits()["validation"]
        chosen = rows.__getitems__(list(range(min(2 * self.sentences, len(rows)))))
        batch = task.received(task.data.collate(chosen))
        places = firsts(batch["text"])[: self.sentences]
        return {name: value[places] for name, value in batch.items()}

    def write(self, task: Any, batch: dict[str, Tensor]) -> list[list[list[int]]]:
        """Return the tokens of each row's candidates.

        Raises:
            UserError: the task has no decoding.
        """
        if task.decoding is None:
            raise UserError("callback=similar_samples writes sentences; use decoding=sample")
        repeated = {
            name: value.repeat_interleave(self.candidates, 0) for name, value in batch.items()
        }
        if self.hide:
            tokens = noised(task, repeated, 1.0, self.hide, generator_of(0), 1.0, 0.0)
            repeated["tokens"] = tokens
        generator = torch.Generator(task.device).manual_seed(0)
        written = task.write(repeated, generator)
        n = self.candidates
        return [written[start : start + n] for start in range(0, len(written), n)]


def ranked_by_cosine(task: Any, sentence: str, written: list[list[int]]) -> Ranked:
    """Return the different new texts and their cosines with the sentence, the nearest first."""
    tokenizer = task.data.tokenizer_
    texts = dict.fromkeys(" ".join(tokenizer.decode(tokens).split()) for tokens in written)
    texts.pop(sentence, None)
    texts.pop("", None)
    if not texts:
        return []
    vectors = F.normalize(task.vectors_of([sentence, *texts]).float(), dim=-1)
    cosines = (vectors[1:] @ vectors[0]).tolist()
    return sorted(zip(texts, cosines, strict=True), key=lambda item: -item[1])


def distinct_pairs(written: list[list[int]]) -> float:
    """Return the share of different pairs of neighbours among all pairs of these texts."""
    pairs = [pair for tokens in written for pair in itertools.pairwise(tokens)]
    return len(set(pairs)) / max(len(pairs), 1)


def _text(task: Any, batch: dict[str, Tensor], row: int) -> str:
    source = batch["keep"][row] & (batch["segments"][row] == 0)
    text = task.data.tokenizer_.decode(batch["tokens"][row][source].tolist())
    return " ".join(text.split())
