"""The contract of every task that trains."""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from suexp.data.base import Data
from suexp.errors import UserError
from suexp.nn.param_groups import build_optimizer
from suexp.task.recorded import Recorded


class Task(Recorded):
    """What is learned: joins a model, a loss, an optimizer, a scheduler, and names none of them."""

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        optimizer: "functools.partial[torch.optim.Optimizer]",
        scheduler: "functools.partial[Any]",
        data: Data,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.data = data
        self._sharded = False
        self._optimizer = optimizer
        self._scheduler = scheduler

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the model's constructor arguments that only the data knows."""
        raise NotImplementedError

    def configure_model(self) -> None:
        """Shard block by block where the strategy shards (trainer=fsdp)."""
        mesh = self.device_mesh
        if mesh is None or self._sharded:
            return
        from torch.distributed.fsdp import fully_shard

        for module in self.model.modules():
            if isinstance(module, nn.ModuleList):
                for block in module:
                    fully_shard(block, mesh=mesh["data_parallel"])
        fully_shard(self.model, mesh=mesh["data_parallel"])
        self._sharded = True

    def configure_optimizers(self) -> Any:
        """Build the optimizer over parameter groups by kind, and its schedule over all steps.

        Raises:
            UserError: what the optimizer or the scheduler refuses, a learning rate of 0, say.
        """
        total = int(self.trainer.estimated_stepping_batches)
        try:
            optimizer = build_optimizer(self._optimizer, self.model)
            scheduler = self._scheduler(optimizer=optimizer, total_steps=max(total, 1))
        except ValueError as error:
            raise UserError(str(error)) from error
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def report(self, metrics: dict[str, Any]) -> None:
        """Log evaluation metrics under their own step; Lightning's is one short of it."""
        self.log_dict({**metrics, "step": float(self.global_step)})

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scalar training loss of a batch; probes call it too."""
        raise NotImplementedError

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss; the runner's recorder writes it down."""
        del batch_idx
        return self.objective(batch)
