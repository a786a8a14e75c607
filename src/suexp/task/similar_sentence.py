"""Similar sentences: one network writes them and finds them."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torchmetrics import MaxMetric

from suexp.data.base import Data
from suexp.data.layout import padded
from suexp.decoding.base import Decoding
from suexp.errors import at_least
from suexp.nn.gather import gather_rows
from suexp.nn.nearest import nearest_other
from suexp.task._mean import weighted_mean
from suexp.task.seq2seq import IGNORE, Seq2Seq


class SimilarSentence(Seq2Seq):
    r"""$L = w_{gen} L_{gen} + w_{sim} L_{sim}$: write b after a, and tell b's vector from others.

    Each pair (a, b) gives two rows, "a, then b" and "b, then a". With mask=prefix a source does not
    see its target, so one pass of a row serves both parts: $L_{gen}$ is the mean cross entropy of
    the target's tokens, as in task=seq2seq, and the first token's last hidden state, through
    ``model.pooler`` (linear in the post), is the vector v (2B, d) of the source alone. $L_{sim}$ is
    contrastive, loss=info_nce: of two rows that are partners each should find the other among all
    rows of the batch, of all processes together. Rows of the same ``cluster`` are similar too and
    do not compete. SimBERT (https://kexue.fm/archives/7427) is this task with clean sources;
    method=source_noise brings RoFormer-Sim's noise, method=similarity_distill its second stage.

    Batches are those of `suexp.data.both_ways`. Both parts are computed whatever their weights, so
    that no parameter is without a gradient. Where a step's gradient is accumulated over several
    batches each has negatives of its own, and counts by its target tokens.

    Logged: ``val/loss``, the target's nats per token; ``val/contrast``, $L_{sim}$, the mean over
    the batches; ``val/recall_at_1``, the share of the split's sentences whose nearest other
    sentence, by cosine, is of its cluster; ``val/target_leak``, by how much the target changes a
    vector at most, in a batch, over the largest entry: 0 up to rounding.

    Post: https://kexue.fm/archives/8454. UniLM: Dong et al., arXiv:1905.03197.

    Args:
        gen_weight: $w_{gen}$; 1 in the post.
        sim_weight: $w_{sim}$; 1 in the post, 0 in its second stage.
        decoding: how similar sentences are written (callback=similar_samples); None: not at all.
        max_target: the most tokens of one that is written.

    Raises:
        ValueError: a weight below 0, both of them 0, or one pair a batch: nothing competes.
    """

    provides: ClassVar[set[str]] = {"generation", "prefix_length", "similar_sentences"}
    asks: ClassVar[set[str]] = set()
    needs: ClassVar[dict[str, str]] = {
        "similar_pairs": "its rows are pairs in both directions; use data=similar_sentences, or "
        "data=files with data.kind=similar",
        "contrast": "its vectors are compared; use loss=info_nce",
        "autoregressive": "a token must not see the one it predicts; use mask=prefix",
        "model=transformer": "it reads the states of source and target in one pass",
    }
    refuses: ClassVar[dict[str, str]] = {
        "fixed_prefix": "the prefix is the source, of another length in each row; set "
        "mask.length=null",
        "mask=causal": "the first token would see nothing of its sentence; use mask=prefix",
        "method=distill": "its model is asked for states, not for logits; use "
        "method=similarity_distill",
        "method=vat": "its model is asked for states, not for logits; use method=fgm",
        "method=naive_accumulation": "a chunk may part two partners; use "
        "trainer.accumulate_grad_batches",
        "trainer=fsdp": "a sharded network gives no hidden states by themselves; use trainer=ddp",
    }

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module | None,
        optimizer: Any,
        scheduler: Any,
        data: Data,
        decoding: Decoding | None = None,
        gen_weight: float | int = 1.0,
        sim_weight: float | int = 1.0,
        max_target: int = 32,
    ) -> None:
        super().__init__(
            decoding=decoding,
            generate_rows=0,  # callback=similar_samples writes
            max_target=max_target,
            model=model,
            loss=loss,
            optimizer=optimizer,
            scheduler=scheduler,
            data=data,
        )
        at_least(0, gen_weight=gen_weight, sim_weight=sim_weight)
        if gen_weight == sim_weight == 0:
            raise ValueError("task.gen_weight and task.sim_weight are both 0: nothing to learn")
        if sim_weight and self.data.batch_size < 2:
            raise ValueError(
                "data.batch_size=1: one pair has no negatives; use data.batch_size=2 or more, or "
                "task.sim_weight=0"
            )
        self.gen_weight, self.sim_weight = gen_weight, sim_weight
        self.val_contrast, self.val_leak = weighted_mean(), MaxMetric()
        self._seen: list[dict[str, Tensor]] = []

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of both losses."""
        hidden, target = self._read(batch)
        generation = self._generation(hidden, target)
        contrast = self.contrast(self.model.pooler(hidden[:, 0]), batch["cluster"])
        return self.gen_weight * generation + self.sim_weight * contrast

    def contrast(self, vectors: Float[Tensor, "r d"], cluster: Int[Tensor, " r"]) -> Tensor:
        """Return the contrastive loss of the rows of all processes; neighbours are partners."""
        vectors, cluster = gather_rows(vectors), gather_rows(cluster)
        return self.loss(vectors[::2], vectors[1::2], group=cluster[::2])

    def source_vectors(self, batch: dict[str, Tensor]) -> Float[Tensor, "r d"]:
        """Return the vectors of the sources alone, as they are: without noise and targets."""
        width = int(batch["prefix_length"].max())
        tokens = batch["tokens"][:, :width]
        keep = (batch["keep"] & (batch["segments"] == 0))[:, :width]
        hidden = self.model.hidden(
            tokens, keep, torch.zeros_like(tokens), prefix_length=batch["prefix_length"]
        )
        return self.model.pooler(hidden[:, 0])

    def vectors_of(self, texts: Sequence[str]) -> Float[Tensor, "r d"]:
        """Return the vectors of texts."""
        tokenizer: Any = self.data.tokenizer_  # type: ignore[attr-defined]
        room = self.data.block_size - len(tokenizer.begin) - 1  # type: ignore[attr-defined]
        rows = [
            np.array([*tokenizer.begin, *tokenizer.encode(text)[:room], tokenizer.eot_id])
            for text in texts
        ]
        tokens, keep = (torch.from_numpy(x) for x in padded(rows, tokenizer.pad_id))
        batch = {"tokens": tokens, "keep": keep, "segments": torch.zeros_like(tokens)}
        batch["prefix_length"] = keep.sum(1)
        return self.source_vectors({name: x.to(self.device) for name, x in batch.items()})

    def _read(self, batch: dict[str, Tensor]) -> tuple[Float[Tensor, "r n c"], Int[Tensor, "r n"]]:
        """Return the last hidden states, and what the model should answer at each place."""
        inputs, target = self.questions(batch, "target")
        hidden = self.model.hidden(
            inputs,
            batch["keep"][:, :-1],
            batch["segments"][:, :-1],
            prefix_length=batch["prefix_length"],
        )
        return hidden, target

    def _generation(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of the target's tokens."""
        at = target != IGNORE
        loss = self.normalizer.cross_entropy(self.model.logits(hidden, at), target[at])
        return loss / at.sum()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the batch's losses, and keep its vectors."""
        hidden, target = self._read(batch)
        self.val_loss.update(self._generation(hidden, target), weight=int((target != IGNORE).sum()))
        vectors = self.model.pooler(hidden[:, 0]).float()
        if batch_idx == 0:
            alone = self.source_vectors(batch).float()
            self.val_leak.update((vectors - alone).abs().max() / alone.abs().max())
        own = self.loss(vectors[::2], vectors[1::2], group=batch["cluster"][::2])
        self.val_contrast.update(own, weight=len(vectors))
        self._seen.append({"vector": vectors} | {n: batch[n] for n in ("text", "cluster")})

    def on_validation_epoch_end(self) -> None:
        """Log the split's figures."""
        means = {"loss": self.val_loss, "contrast": self.val_contrast, "target_leak": self.val_leak}
        figures = {f"val/{name}": metric.compute() for name, metric in means.items()}
        for metric in means.values():
            metric.reset()
        figures["val/recall_at_1"] = nearest_is_similar(*self.seen()).float().mean()
        self._seen = []
        self.report(figures)

    def seen(self) -> tuple[Tensor, Tensor]:
        """Return vector and cluster of every sentence of the split so far, each once."""
        whole = {
            name: gather_rows(torch.cat([part[name] for part in self._seen]))
            for name in self._seen[0]
        }
        first = firsts(whole["text"])
        return whole["vector"][first], whole["cluster"][first]

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        return {
            f"{split}/loss": float("inf"),
            f"{split}/contrast": float("inf"),
            f"{split}/recall_at_1": 0.0,
        }


def firsts(numbers: Int[Tensor, " r"]) -> Int[Tensor, " k"]:
    """Return the place where each different number occurs first, by growing number."""
    known, which = numbers.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    places = torch.arange(len(numbers), device=numbers.device)
    last = torch.full_like(known, len(numbers))
    return last.scatter_reduce(0, which, places, "amin")


def nearest_is_similar(
    vectors: Float[Tensor, "k d"], cluster: Int[Tensor, " k"]
) -> Bool[Tensor, " k"]:
    """Return for each vector whether the nearest other one, by cosine, is of its cluster."""
    return cluster[nearest_other(F.normalize(vectors, dim=-1))] == cluster
