"""Whether an output knows the token that it is asked for."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback._when import is_last
from suexp.component import Component
from suexp.errors import UserError
from suexp.task.base import Task


class Leak(Callback, Component):
    r"""Once training is over: $\max_i |f_i(x) - f_i(x^{(i)})|$, $x^{(i)}$ with another token i.

    Token by token of one held-out text is replaced. Shapes: texts (n + 1, n). Every layer's state
    and the logits are compared with those of the text itself. Final: ``val/leak``, the largest
    change of logits at the place of the token replaced: 0 where no output knows its own token; and
    ``val/influence``, the largest change elsewhere. Tables: ``leak`` with the change at the own
    place by layer (``leak``), and ``influence`` with each output's change (root mean square of its
    logits') for each token. https://kexue.fm/archives/7661; Shin et al., arXiv:2004.08097.

    Args:
        length: n, tokens of the text.

    Raises:
        ValueError: a length below 2.
        UserError: a model without blocks and logits for each token.
    """

    needs: ClassVar[dict[str, str]] = {
        "language_model": "it looks at each token's logits; use task=masked_lm or "
        "task=autoencode_lm with model=transformer or model=tta"
    }

    def __init__(self, length: int = 16) -> None:
        if length < 2:
            raise ValueError(f"length={length}: at least 2")
        self.length = length

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it."""
        del trainer, stage
        if not hasattr(pl_module, "questions") or not hasattr(pl_module.model, "blocks"):
            raise UserError(
                "callback=leak looks at each token's logits; use task=masked_lm or "
                "task=autoencode_lm with model=transformer or model=tta"
            )

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, once training is over."""
        if not is_last(trainer):
            return
        task: Any = pl_module
        assert isinstance(task, Task)
        text = torch.as_tensor(task.data.splits()["validation"][0]["tokens"]).long()
        text = text[1 : self.length + 1].to(task.device)
        texts = text.repeat(len(text) + 1, 1)
        words = task.data.tokenizer_.size  # type: ignore[attr-defined]
        texts[1:].diagonal().add_(1 + torch.arange(len(text), device=task.device)).remainder_(words)
        states: list[Tensor] = []
        blocks: Any = task.model.blocks
        hooks = [block.register_forward_hook(lambda *a: states.append(a[2])) for block in blocks]
        try:
            logits = task.model(texts).float()
        finally:
            for hook in hooks:
                hook.remove()
        for table in ("leak", "influence"):
            task.tables.pop(table, None)
        for layer, state in enumerate(states, 1):
            row = {"layer": layer, "leak": float(changes(state.float()).diagonal().max())}
            task.record_rows("leak", [row])
        found = changes(logits)
        own = torch.eye(len(text), dtype=torch.bool, device=found.device)
        task.final["val/leak"] = float(found[own].max())
        task.final["val/influence"] = float(found[~own].max())
        task.record_rows(
            "influence",
            [
                {"token": i, "output": j, "change": round(value, 6)}
                for i, values in enumerate(found.tolist())
                for j, value in enumerate(values)
            ],
        )


def changes(outputs: Float[Tensor, "m n c"]) -> Float[Tensor, "n n"]:
    """Return how far output j of row i + 1 is from that of row 0: root mean squares."""
    return (outputs[1:] - outputs[:1]).square().mean(-1).sqrt()
