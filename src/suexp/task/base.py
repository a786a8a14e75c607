"""The contract of every task that trains."""

import functools
import math
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from suexp.data.base import Data
from suexp.errors import UserError
from suexp.method.base import Backward, Method, Objective
from suexp.nn.param_groups import build_optimizer
from suexp.normalizer.base import Normalizer
from suexp.normalizer.softmax import Softmax
from suexp.task._accumulation import Accumulation


class Task(Accumulation):
    """What is learned: joins a model, a loss, an optimizer, a scheduler, and names none of them.

    Attributes:
        methods: what wraps the training, the innermost first; see `suexp.method.base`.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module | None,
        optimizer: "functools.partial[torch.optim.Optimizer] | None",
        scheduler: "functools.partial[Any] | None",
        data: Data,
    ) -> None:
        super().__init__()
        self.model: Any = model
        self.loss: Any = loss
        self.methods = nn.ModuleList()
        self.data = data
        self._sharded = False
        self._rehearsed: int | None = None
        self._optimizer: Any = optimizer
        self._scheduler: Any = scheduler

    def wrap(self, methods: Sequence[Method]) -> None:
        """Let methods wrap the training, in the order that they declare."""
        ordered: list[Method] = sorted(methods, key=lambda method: method.order)
        self.methods = nn.ModuleList(ordered)
        for method in self._methods():
            method.attach(self)

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the model's constructor arguments that only the data knows."""
        raise NotImplementedError

    @staticmethod
    def loss_sizes(data: Data) -> dict[str, int]:
        """Return the loss's constructor arguments that only the data knows."""
        del data
        return {}

    @property
    def trained(self) -> tuple[nn.Module, ...]:
        """The modules that the optimizer trains: model and loss, and methods with parameters.

        A loss's other entries than ``forward`` stand in its class attribute ``entries``.
        """
        learning = (method for method in self._methods() if any(True for _ in method.parameters()))
        return (self.model, *([] if self.loss is None else [self.loss]), *learning)

    @property
    def normalizer(self) -> Normalizer:
        """What turns logits into probabilities: the loss's own, or softmax."""
        found: Normalizer | None = getattr(self.loss, "normalizer", None)
        return Softmax() if found is None else found

    def configure_model(self) -> None:
        """Shard block by block where the strategy shards (trainer=fsdp)."""
        mesh = self.device_mesh
        if mesh is None or self._sharded:
            return
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        for module in self.model.modules():
            if isinstance(module, nn.ModuleList):
                for block in dict.fromkeys(module):  # shared layers once
                    fully_shard(block, mesh=mesh["data_parallel"])
        for module in self.trained:
            if any(True for _ in module.parameters()):
                fully_shard(module, mesh=mesh["data_parallel"])
                for name in getattr(module, "entries", ()):
                    register_fsdp_forward_method(module, name)
        self._sharded = True

    def configure_optimizers(self) -> Any:
        """Build the optimizer over parameter groups by kind, and its schedule over all steps.

        Raises:
            UserError: what the optimizer or the scheduler refuses, a learning rate of 0, say.
        """
        total = int(self.trainer.estimated_stepping_batches)
        try:
            optimizer = self.watched(build_optimizer(self._optimizer, *self.trained))
            scheduler = self._scheduler(optimizer=optimizer, total_steps=max(total, 1))
        except ValueError as error:
            raise UserError(str(error)) from error
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def trainer_settings(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Take over the accumulation of gradients, so that to Lightning a batch is a step.

        Several processes look for parameters without a gradient, where a method has some.
        """
        self.batches_per_step = chosen.get("accumulate_grad_batches") or 1
        chosen = chosen | {"accumulate_grad_batches": 1}
        if chosen["strategy"] == "ddp" and any(method.leaves_unused for method in self._methods()):
            return chosen | {"strategy": "ddp_find_unused_parameters_true"}
        return chosen

    def watched(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return the optimizer, whose steps the methods hear of."""
        if self.methods:
            optimizer.register_step_post_hook(lambda *_: self._after_step())
        return optimizer

    def _after_step(self) -> None:
        for method in self._methods():
            method.after_step(self)

    def _methods(self) -> list[Method]:
        return list(self.methods)  # type: ignore[arg-type]

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures: those of a run that diverged.

        Args:
            split: ``val`` or ``test``, as the figures' names begin.
        """
        return {f"{split}/loss": math.inf}

    def report(self, metrics: dict[str, Any]) -> None:
        """Log evaluation metrics under their own step; Lightning's is one short of it."""
        self.log_dict({**metrics, "step": float(self.global_step)})

    def received(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a batch as a step is given it: on this device, in the run's precision."""
        batch = self.trainer.precision_plugin.convert_input(batch)
        return {name: value.to(self.device) for name, value in batch.items()}

    @property
    def global_step(self) -> int:
        """How many training steps there have been, or were before the one that is rehearsed."""
        return super().global_step if self._rehearsed is None else self._rehearsed

    def rehearse(self, batch: dict[str, Tensor], step: int = 0) -> None:
        """Compute what a training step does for a batch, its methods included; keep nothing of it.

        Args:
            batch: what the step reads.
            step: how many there were before; see `Method.alike`.
        """
        self._rehearsed = step
        try:
            self._compute(batch)
        finally:
            self._rehearsed = None
            for parameter in self.parameters():
                parameter.grad = None

    def _compute(self, batch: dict[str, Tensor]) -> None:
        """Compute loss and gradients as a training step does."""
        loss = self.training_step(batch, 0)
        if loss is not None:
            self.backward(loss)

    @contextmanager
    def without_methods(self) -> Iterator[None]:
        """Let nothing wrap the training for a while; what methods changed in the networks stays."""
        kept, self.methods = self.methods, nn.ModuleList()
        try:
            yield
        finally:
            self.methods = kept

    def kind_of_step(self, batch: dict[str, Tensor], step: int) -> Hashable:
        """Return what the steps that cost the same have in common; see `Method.alike`."""
        return tuple(method.alike(self, batch, step) for method in self._methods())

    def log_step(self, metrics: dict[str, float], step: int) -> None:
        """Hand a step's figures to the loggers, where there are any; a rehearsal leaves none."""
        if self._trainer is not None and self._rehearsed is None:
            for logger in self.trainer.loggers:
                logger.log_metrics(metrics, step)

    def wrapped_objective(self) -> Objective:
        """Return the objective, wrapped by the methods; it raises Skip where one skips the step.

        A loss that changes from step to step (``needs_step``) learns which one it is.
        """
        if getattr(self.loss, "needs_step", False):
            self.loss.step = self.global_step
        objective: Objective = self.objective
        for method in self._methods():
            objective = functools.partial(method.objective, self, inner=objective)
        return objective

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Run the backward pass, wrapped by the methods; Lightning calls this."""

        def plain(loss: Tensor) -> None:
            loss.backward(*args, **kwargs)  # type: ignore[no-untyped-call]

        backward: Backward = plain
        for method in self._methods():
            backward = functools.partial(method.backward, self, inner=backward)
        backward(loss)
