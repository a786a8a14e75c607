"""Fully sharded training (FSDP2)."""

from pytorch_lightning.strategies import ModelParallelStrategy


class FullySharded(ModelParallelStrategy):
    """Each process holds a share of every parameter, gradient and optimizer state.

    Zhao et al., PyTorch FSDP, arXiv:2304.11277. Works on GPUs and, through gloo, on CPUs; the task
    shards the model (`suexp.task.base.Task.configure_model`). Checkpoints are whole files, as
    everywhere else.

    Args:
        data_parallel_size: number of processes.
    """

    def __init__(self, data_parallel_size: int) -> None:
        super().__init__(
            data_parallel_size=data_parallel_size,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
        )
