"""A second optimizer beside the run, on the same batches: how far two algorithms drift apart."""

import functools
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor

from suexp.callback._probe import StepProbe
from suexp.component import Component
from suexp.errors import UserError, at_least
from suexp.method.base import Skip
from suexp.nn.param_groups import param_groups
from suexp.task.base import Task

_ROWS = 400  # of a table


class Shadow(StepProbe, Component):
    r"""$\max_i |\theta_i - \theta'_i|$ of the run's parameters and those of a shadow.

    The parameters have any shapes; the shadow's are equal, and so is its state, beside the run's.
    The shadow begins with the same weights and reads the same batches with the same random draws;
    its gradients are taken at its own weights. What the run's schedule multiplies its learning rate
    by, the shadow's is multiplied by, too. Two algorithms that are equal differ by rounding alone
    (https://kexue.fm/archives/8634, arXiv:2111.10050). The run itself does not change, but takes
    about twice the time.

    Logged: ``train/shadow_distance``; final: the largest, ``train/shadow_distance_max``. With
    ``state`` the table ``shadow_state`` has ``log2_ratio``, of the run's state to the shadow's, for
    400 of the parameters' entries; beyond 64 and 1/64 it ends.

    Args:
        optimizer: what the shadow steps with, still to be given its parameters.
        accumulate: steps whose gradients are averaged, in a buffer beside the optimizer, before it
            makes one.
        every: steps from one measurement to the next.
        state: a state tensor that both optimizers have, ``exp_avg_sq``, say; None: none.

    Raises:
        ValueError: accumulate or every below 1.
        UserError: the trainer clips or accumulates, which the shadow would not; an optimizer has no
            such state.
    """

    needs: ClassVar[dict[str, str]] = {
        "optimizer": "it steps a second optimizer beside the run's, and there is none here; leave "
        "it out"
    }
    refuses: ClassVar[dict[str, str]] = {
        "trainer=fsdp": "it exchanges whole weights; use trainer=ddp",
        "adversarial": "it steps one optimizer, and there are two; leave it out",
        "line_search": "it steps along gradients of its own; use another optimizer",
    }

    def __init__(
        self,
        optimizer: "functools.partial[torch.optim.Optimizer]",
        accumulate: int = 1,
        every: int = 10,
        state: str | None = None,
    ) -> None:
        super().__init__()
        at_least(1, accumulate=accumulate, every=every)
        self.accumulate, self.every, self.state = accumulate, every, state
        self.largest = 0.0
        self._build = optimizer
        self._optimizer: torch.optim.Optimizer | None = None
        self._pairs: list[tuple[Tensor, Tensor]] = []  # the run's, the shadow's
        self._sums: list[Tensor | None] = []
        self._steps = 0
        self._restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the shadow: its weights, its optimizer's state, the sums of its gradients."""
        if self._optimizer is None:
            return self._restored or {}
        return {
            "largest": self.largest,
            "steps": self._steps,
            "weights": [q.detach().clone() for _, q in self._pairs],
            "sums": [None if s is None else s.clone() for s in self._sums],
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the shadow until training goes on."""
        self._restored, self.largest = state_dict, state_dict["largest"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse what only the run would do."""
        del stage
        assert isinstance(pl_module, Task)
        for key, value in (
            ("gradient_clip_val=null", trainer.gradient_clip_val),
            ("accumulate_grad_batches=1", pl_module.batches_per_step > 1),
        ):
            if value:
                raise UserError(f"callback=shadow steps as the run does; set trainer.{key}")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the shadow of the weights as they are, or as it was."""
        del trainer
        assert isinstance(pl_module, Task)
        groups = param_groups(*pl_module.trained)
        parameters = [p for group in groups for p in group["params"]]
        self._pairs = [(p, p.detach().clone().requires_grad_()) for p in parameters]
        shadows = dict(self._pairs)
        for group in groups:
            group["params"] = [shadows[p] for p in group["params"]]
        self._optimizer, self._sums = self._build(groups), [None] * len(self._pairs)
        for group in self._optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        if restored := self._restored:
            self._restored, self._steps = None, restored["steps"]
            for (p, q), weights in zip(self._pairs, restored["weights"], strict=True):
                q.data.copy_(weights.to(p.device))
            self._sums = [
                None if s is None else s.to(p.device)
                for s, (p, _) in zip(restored["sums"], self._pairs, strict=True)
            ]
            self._optimizer.load_state_dict(restored["optimizer"])

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Step the shadow, along the gradient at its own weights."""
        assert isinstance(pl_module, Task)
        gradients = self._gradients(trainer, pl_module)
        for i, g in enumerate(gradients):
            if g is not None:
                share, known = g / self.accumulate, self._sums[i]
                self._sums[i] = share if known is None else known.add_(share)
        self._steps += 1
        if self._steps % self.accumulate:
            return
        assert self._optimizer is not None
        run = optimizer.param_groups[0]
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * run["lr"] / run.get("initial_lr", run["lr"])
        for i, (_, q) in enumerate(self._pairs):
            q.grad, self._sums[i] = self._sums[i], None
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _gradients(self, trainer: pl.Trainer, task: Task) -> list[Tensor | None]:
        self._exchange()
        try:
            return self.gradient(trainer, task, [p for p, _ in self._pairs])[1]
        except Skip:
            return [None] * len(self._pairs)
        finally:
            self._exchange()

    def _exchange(self) -> None:
        """Let the run's network compute with the shadow's weights, or with its own again."""
        for p, q in self._pairs:
            p.data, q.data = q.data, p.data

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Measure."""
        del pl_module
        if trainer.global_step % self.every and trainer.global_step != trainer.max_steps:
            return
        distance = max(float((p - q).detach().abs().max()) for p, q in self._pairs if p.numel())
        self.largest = max(self.largest, distance)
        for logger in trainer.loggers:
            logger.log_metrics({"train/shadow_distance": distance}, trainer.global_step)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Store the largest distance, and the ratios of the states."""
        assert isinstance(pl_module, Task)
        pl_module.final["train/shadow_distance_max"] = self.largest
        if self.state is None or self._optimizer is None:
            return
        ratios = []
        for p, q in self._pairs:
            ours = trainer.optimizers[0].state[p].get(self.state)
            theirs = self._optimizer.state[q].get(self.state)
            if ours is None or theirs is None:
                raise UserError(f"callbacks.shadow.state={self.state}: not both optimizers have it")
            ratios.append((ours / theirs)[(theirs != 0) & (ours != 0)])
        found = torch.cat(ratios)
        found = found[:: max(1, len(found) // _ROWS)][:_ROWS].abs().log2().clamp(-6, 6)
        pl_module.record_rows("shadow_state", [{"log2_ratio": value} for value in found.tolist()])
