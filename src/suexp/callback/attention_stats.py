"""How sharply a model attends: entropy, information, size of the scores."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from jaxtyping import Bool
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from suexp.attention.base import Attention
from suexp.callback._attention import attentions, observed, read, weights_of
from suexp.callback._when import is_first, is_last
from suexp.component import Component
from suexp.mask.base import Mask
from suexp.mask.padding import Padding
from suexp.model.encoder_decoder import CrossBlock
from suexp.task.base import Task

SUMS = ("rows", "entropy", "keys", "information", "paired", "score_var", "js_rows", "js")


class AttentionStats(Callback, Component):
    r"""Entropy $H_i = -\sum_j p_{ij} \log p_{ij}$ and information $\log n_i - H_i$ of attention.

    $n_i$ is the number of keys that query i may see; padding counts neither as key nor, among the
    tokens of one text, as query. All are means over queries, heads and texts, in nats, in one pass
    over validation batches without dropout, at the last validation. For any attention; weights
    p (b, h, n, m) come from its method ``weights``, or else from values that are the identity
    (those below 0 then count as 0, and rows are divided by their sum).

    Final metrics, over all layers:

    - ``val/attention_entropy`` and, of the last layer, ``val/attention_entropy_last``;
    - ``val/attention_information``, ``val/attention_keys``: mean of $\log n_i$;
    - ``val/attention_js``: Jensen-Shannon divergence between head h of a layer and head h of the
      layer before it;
    - ``val/score_std``: root of the mean variance of a row's scores; ``val/score_max``: the largest
      |score|. Only where the attention has explicit scores (a method ``scores``).

    The table ``attention`` has them by ``layer`` and ``head``, both from 0; ``when`` is ``end``, or
    ``start``. The modules of an encoder come before those of a decoder; each attention module is a
    layer, so that layers which share one count as one.

    References: information as what training can gain, https://kexue.fm/archives/9593; divergence
    of neighbouring layers, He et al., RealFormer, arXiv:2012.11747, and
    https://kexue.fm/archives/8027; entropy and length, https://kexue.fm/archives/8823.

    Args:
        batches: validation batches that are looked at.
        texts: the first texts of each that are.
        at_start: also before the first step; these metrics begin with ``start/`` for ``val/``.

    Raises:
        ValueError: batches or texts below 1.
        UserError: the model has no attention.
    """

    needs: ClassVar[dict[str, str]] = {
        "attention": "it measures what attention does, and the model has none; use "
        "model=transformer, or leave it out"
    }

    def __init__(self, batches: int = 4, texts: int = 16, at_start: bool = False) -> None:
        if min(batches, texts) < 1:
            raise ValueError(f"batches {batches} and texts {texts} must be at least 1")
        self.batches, self.texts, self.at_start = batches, texts, at_start
        self._start: tuple[dict[str, float], list[dict[str, Any]]] = ({}, [])

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured at the start."""
        return {"metrics": dict(self._start[0]), "rows": list(self._start[1])}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what was measured at the start."""
        self._start = (dict(state_dict["metrics"]), list(state_dict["rows"]))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it."""
        del trainer, stage
        attentions(pl_module, "attention_stats")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure what the initialisation gave."""
        if self.at_start and is_first(trainer):
            self._start = self._measure(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure once training is over, and write everything down."""
        if not is_last(trainer):
            return
        assert isinstance(pl_module, Task)
        measured = {"start": self._start, "end": self._measure(trainer, pl_module)}
        pl_module.tables.pop("attention", None)
        for when, (metrics, rows) in measured.items():
            split = "val" if when == "end" else when
            pl_module.final |= {f"{split}/{name}": value for name, value in metrics.items()}
            pl_module.record_rows("attention", [{"when": when, **row} for row in rows])

    @torch.no_grad()
    def _measure(
        self, trainer: pl.Trainer, task: Any
    ) -> tuple[dict[str, float], list[dict[str, Any]]]:
        assert isinstance(task, Task)
        with watch(task.model) as stats:
            read(trainer, task, self.batches, slice(self.texts))
        if trainer.world_size > 1:
            parts: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, (stats.sums, stats.largest))
            stats = Statistics(stats.above)
            for sums, largest in parts:
                stats.merge(sums, largest)
        return stats.metrics(), stats.rows()


@contextmanager
def watch(model: nn.Module) -> Iterator["Statistics"]:
    """Measure all that the attentions of a model do in here; see `AttentionStats`."""
    modules = dict(model.named_modules())
    layers = {name: module for name, module in modules.items() if isinstance(module, Attention)}
    crossing = {
        f"{name}.cross.attention" for name, m in modules.items() if isinstance(m, CrossBlock)
    }
    above: list[int | None] = []
    last: dict[tuple[str, bool], int] = {}
    for index, name in enumerate(layers):
        kind = (re.split(r"\.\d+\.", name)[0], name in crossing)  # the list that it stands in
        above.append(last.get(kind))
        last[kind] = index
    stats = Statistics(above)
    names = [*layers]
    with observed(
        [*layers.values()],
        lambda layer, module, call: stats.add(layer, module, call, names[layer] not in crossing),
    ):
        yield stats


class Statistics:
    """Sums over the rows of attention matrices, by layer and head.

    Args:
        above: for each layer the one before it, None for the first of its kind.
    """

    def __init__(self, above: Sequence[int | None]) -> None:
        self.above = list(above)
        self.sums: list[dict[str, Tensor]] = [{} for _ in above]
        self.largest: list[Tensor | None] = [None for _ in above]
        self._weights: dict[int, Tensor] = {}

    def add(self, layer: int, attention: Any, call: dict[str, Any], own: bool) -> None:
        """Add one call of an attention: ``q, k, mask`` and what else it was given but the values.

        ``own``: queries and keys are the same text's.
        """
        weights = weights_of(attention, call)
        allowed, real = _visible(call["mask"], weights, own)
        count = allowed.sum(-1)
        real = real & (count > 0)
        keys = count.clamp(min=1).to(weights.dtype).log()
        entropy = torch.special.entr(weights).sum(-1)
        found = {
            "rows": real,
            "entropy": entropy.where(real, 0),
            "keys": keys.where(real, 0),
            "information": (keys - entropy).where(real, 0),
        }
        top: Tensor | None = None
        if hasattr(attention, "scores"):
            scores = attention.scores(**call).masked_fill(~allowed, 0)
            pairs = real & (count > 1)
            mean = scores.sum(-1, keepdim=True) / count.clamp(min=1)[..., None]
            square = (scores - mean).square().masked_fill(~allowed, 0).sum(-1)
            found |= {"paired": pairs, "score_var": (square / count.clamp(min=1)).where(pairs, 0)}
            top = scores.abs().amax(-1).where(real, 0).transpose(0, 1).flatten(1).amax(-1).cpu()
        above = self.above[layer]
        near = None if above is None else self._weights.pop(above, None)
        if layer in self.above:
            self._weights[layer] = weights
        if near is not None and near.shape == weights.shape:
            middle = torch.special.entr((near + weights) / 2).sum(-1)
            js = middle - (torch.special.entr(near).sum(-1) + entropy) / 2
            found |= {"js_rows": real, "js": js.where(real, 0)}
        wide = torch.float32 if weights.device.type == "mps" else torch.float64
        sums: list[dict[str, Tensor]] = [{} for _ in self.above]
        sums[layer] = {name: x.to(wide).sum((0, 2)).cpu() for name, x in found.items()}
        self.merge(sums, [top if at == layer else None for at in range(len(self.above))])

    def merge(self, sums: list[dict[str, Tensor]], largest: list[Tensor | None]) -> None:
        """Add what another process, or another part of the texts, has summed up."""
        for own, others in zip(self.sums, sums, strict=True):
            for name, value in others.items():
                own[name] = own[name] + value if name in own else value
        for layer, top in enumerate(largest):
            past = self.largest[layer]
            self.largest[layer] = (
                past if top is None else top if past is None else past.maximum(top)
            )

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each layer and head."""
        rows = []
        for layer, sums in enumerate(self.sums):
            for head in range(len(sums["rows"]) if sums else 0):
                one = {name: float(value[head]) for name, value in sums.items()}
                row = {"layer": layer, "head": head, **_means(one)}
                largest = self.largest[layer]
                if largest is not None:
                    row["score_max"] = float(largest[head])
                rows.append(row)
        return rows

    def metrics(self) -> dict[str, float]:
        """Return the means over all layers and heads."""
        total = {
            name: sum(float(sums[name].sum()) for sums in self.sums if name in sums)
            for name in SUMS
            if any(name in sums for sums in self.sums)
        }
        if not total:
            return {}
        found = _means(total)
        last = {name: float(value.sum()) for name, value in self.sums[-1].items()}
        metrics = {
            "attention_entropy": found["entropy"],
            "attention_entropy_last": _means(last)["entropy"] if last else found["entropy"],
            "attention_information": found["information"],
            "attention_keys": found["keys"],
        }
        if "js" in found:
            metrics["attention_js"] = found["js"]
        if "score_std" in found:
            metrics["score_std"] = found["score_std"]
            metrics["score_max"] = max(float(x.max()) for x in self.largest if x is not None)
        return metrics


def _visible(
    mask: Mask, weights: Tensor, own: bool
) -> tuple[Bool[Tensor, "b h n m"], Bool[Tensor, "b h n"]]:
    """Return which keys each query may see, and which queries are no padding."""
    n, m = weights.shape[-2:]
    table = mask.dense(n, m, weights.device)
    allowed = torch.ones_like(weights, dtype=torch.bool) if table is None else table
    real = torch.ones_like(weights[..., 0], dtype=torch.bool)
    if own and n == m:
        for part in mask.parts:
            if isinstance(part, Padding):
                real = real & part.keep.to(real.device)[:, None]
    return allowed.expand_as(weights), real


def _means(sums: dict[str, float]) -> dict[str, float]:
    rows = max(sums["rows"], 1)
    found = {name: sums[name] / rows for name in ("entropy", "keys", "information")}
    if "js" in sums:
        found["js"] = sums["js"] / max(sums["js_rows"], 1)
    if "score_var" in sums:
        found["score_std"] = (sums["score_var"] / max(sums["paired"], 1)) ** 0.5
    return found
