"""What each part of a text's code says: parts are replaced by those of other texts."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback._classifier import of_all
from suexp.callback._when import is_last
from suexp.component import Component
from suexp.decoding.greedy import Greedy
from suexp.errors import UserError, at_least
from suexp.task._draws import generator_of
from suexp.task.base import Task

WORD = re.compile(r"[^\W\d_]{4,}")  # shorter ones are rarely what a sentence is about


class CodeSwap(Callback, Component):
    r"""Once training is over: the loss of texts whose codes are, in part, those of others.

    Codes z (B, L, d) of a batch are those of the next text in it where they are swapped. Final:
    ``val/shuffled_loss``, nats per token with all codes swapped; ``val/code_gain``, by how much it
    exceeds the loss with the texts' own, 0 where the decoder does not listen; ``val/swap_loss_k``
    with that of the k-th layer with a code alone.

    Of the first ``rows`` texts of the validation split, with greedy decoding,
    $\mathrm{kept} = |W(z) \cap W(z')| / |W(z)|$ where W are the different words of four letters or
    more in what is written, and z' has draws of the prior in its first half of layers
    (``val/kept_words_front``) or its last quarter (``val/kept_words_back``), at least one layer.
    Texts without such a word do not count. Tables: ``code_swap`` (layer, loss, rise) and, for the
    first few, ``code_texts`` (text, own, front, back, drawn).

    Reference: https://kexue.fm/archives/8475.

    Args:
        rows: texts that are written; 0: none.
        shown: of these, in the table.

    Raises:
        ValueError: a negative number.
        UserError: batches of a single text.
    """

    needs: ClassVar[dict[str, str]] = {
        "text_codes": "it swaps codes of texts; use task=autoencode_text with another model.latent "
        "than none"
    }

    def __init__(self, rows: int = 64, shown: int = 4) -> None:
        at_least(0, rows=rows, shown=shown)
        self.rows, self.shown = rows, shown
        self._sums = torch.zeros(1, 2, dtype=torch.float64)
        self._kept = torch.zeros(2, 2, dtype=torch.float64)
        self._texts: list[dict[str, Any]] = []
        self._left = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it."""
        del trainer, stage
        task: Any = pl_module
        if task.data.eval_batch_size < 2:
            raise UserError("callback=code_swap swaps within a batch; use data.eval_batch_size=2")

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the sums to 0."""
        task: Any = pl_module
        layers = len(task.model.bottlenecks)
        self._sums = torch.zeros(2 + layers, 2, dtype=torch.float64)
        self._kept = torch.zeros(2, 2, dtype=torch.float64)
        self._texts = []
        self._left = -(-self.rows // trainer.world_size)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch of the last validation."""
        del outputs, dataloader_idx
        task: Any = pl_module
        if not is_last(trainer):
            return
        if len(batch["tokens"]) > 1:  # a single text has no other's code
            self._sums += self.losses(task, batch).cpu()
        if self._left > 0:
            part = {name: value[: self._left] for name, value in batch.items()}
            self._left -= len(part["tokens"])
            self._write(task, part, batch_idx)

    def losses(self, task: Any, batch: dict[str, Tensor]) -> Float[Tensor, "s 2"]:
        """Return sums of losses and numbers of tokens: own codes, all swapped, each layer's."""
        codes = task.model.encode(batch["tokens"], batch["keep"])
        others = codes.roll(-1, 0)
        each_layer = [replaced(codes, others, [layer]) for layer in range(codes.shape[1])]
        found = []
        for each in (codes, others, *each_layer):
            reading, target = task.read(batch, each)
            loss = task.normalizer.cross_entropy(reading.logits, target).double()
            found.append(torch.stack((loss, loss.new_tensor(len(target)))))
        return torch.stack(found)

    def _write(self, task: Any, batch: dict[str, Tensor], number: int) -> None:
        """Write texts from their codes, from changed ones and from draws."""
        codes = task.model.encode(batch["tokens"], batch["keep"])
        generator = generator_of(codes.device, "code_swap", number, task.place[0])
        drawn = task.model.prior(len(codes), generator).to(codes)
        layers = codes.shape[1]
        front = range(max(layers // 2, 1))
        back = range(layers - max(layers // 4, 1), layers)
        variants = (codes, replaced(codes, drawn, front), replaced(codes, drawn, back), drawn)
        tokenizer = task.data.tokenizer_
        decode = tokenizer.decode
        told = [[decode(x) for x in task.write(each, Greedy())] for each in variants]
        for own, *others in zip(*told[:3], strict=True):
            words = set(WORD.findall(own.lower()))
            for place, text in enumerate(others):
                if words:
                    kept = len(words & set(WORD.findall(text.lower()))) / len(words)
                    self._kept[place] += torch.tensor([kept, 1.0], dtype=torch.float64)
        for row, texts in enumerate(zip(*told, strict=True)):
            if len(self._texts) < self.shown:
                text = decode(batch["tokens"][row][batch["keep"][row]].tolist())
                names = ("text", "own", "front", "back", "drawn")
                self._texts.append(dict(zip(names, (text, *texts), strict=True)))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write down the losses, the words kept and some texts."""
        if not is_last(trainer):
            return
        assert isinstance(pl_module, Task)
        sums = of_all(self._sums, trainer, pl_module)
        own, shuffled, *swapped = (sums[:, 0] / sums[:, 1].clamp(min=1)).tolist()
        final = pl_module.final
        final["val/shuffled_loss"], final["val/code_gain"] = shuffled, shuffled - own
        rows = []
        for layer, loss in enumerate(swapped, 1):
            final[f"val/swap_loss_{layer}"] = loss
            rows.append({"layer": layer, "loss": loss, "rise": loss - own})
        for table, found in (("code_swap", rows), ("code_texts", self._texts)):
            pl_module.tables.pop(table, None)
            pl_module.record_rows(table, found)
        kept = of_all(self._kept, trainer, pl_module)
        for name, (total, count) in zip(("front", "back"), kept.tolist(), strict=True):
            if count:
                final[f"val/kept_words_{name}"] = total / count


def replaced(
    codes: Float[Tensor, "b l d"], others: Float[Tensor, "b l d"], layers: Sequence[int]
) -> Float[Tensor, "b l d"]:
    """Return codes with some layers' from others."""
    changed = codes.clone()
    changed[:, list(layers)] = others[:, list(layers)]
    return changed
