"""What several passes of one batch through a network need, so that they do not disturb another."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import get_device_states, set_device_states

Batch = Mapping[str, Tensor]


class RandomState:
    """The states of torch's random generators, on the CPU and on the batch's devices."""

    def __init__(self, batch: Batch) -> None:
        self.cpu = torch.get_rng_state()
        self.type = next(iter(batch.values())).device.type
        self.devices, self.states = get_device_states(*batch.values())

    def restore(self) -> None:
        """Set the generators to these states."""
        torch.set_rng_state(self.cpu)
        if self.devices:
            set_device_states(self.devices, self.states, device_type=self.type)

    def __eq__(self, other: object) -> bool:
        """Tell whether nothing was drawn between the two."""
        return isinstance(other, RandomState) and all(
            torch.equal(a, b)
            for a, b in zip([self.cpu, *self.states], [other.cpu, *other.states], strict=True)
        )

    __hash__ = None  # type: ignore[assignment]


@contextmanager
def as_if_nothing_happened(model: nn.Module, batch: Batch, draws: bool = True) -> Iterator[None]:
    """Leave buffers (running averages) and, with ``draws``, random generators as they are.

    What happens in the context has copies of the buffers, so that its graph outlives it.
    """
    state = RandomState(batch) if draws else None
    kept = [(part, dict(part._buffers)) for part in model.modules() if part._buffers]
    for part, buffers in kept:
        part._buffers = {k: None if b is None else b.clone() for k, b in buffers.items()}
    try:
        yield
    finally:
        for part, buffers in kept:
            part._buffers = buffers
        if state is not None:
            state.restore()


def same_autocast(batch: Batch) -> Callable[[], torch.autocast]:
    """Return what enters autocast as it is now; without its cache.

    Weights cast in a pass without gradients must not be taken for those of the pass with them.
    """
    device = next(iter(batch.values())).device.type
    enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    return lambda: torch.autocast(device, dtype=dtype, enabled=enabled, cache_enabled=False)


def loss_scale(task: Any) -> float:
    """Return what losses in float16 must be multiplied by, lest gradients vanish on the way."""
    plugin: Any = None if task._trainer is None else task.trainer.precision_plugin
    scaler = getattr(plugin, "scaler", None)
    return 1.0 if scaler is None else float(scaler.get_scale())


@contextmanager
def twice_differentiable(model: nn.Module) -> Iterator[None]:
    """Let a forward pass take kernels whose gradients can be differentiated once more.

    The fused kernels of attention cannot, nor can cuDNN's of recurrent layers; others stay.
    """
    recurrent = any(isinstance(part, nn.RNNBase) for part in model.modules())
    cudnn = torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext()
    with sdpa_kernel(SDPBackend.MATH), cudnn:
        yield
