"""How much memory a backward pass waits for: the tensors that autograd keeps."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class _Held:
    """A kept tensor; the meter hears when autograd lets go of it."""

    def __init__(self, meter: "SavedBytes", key: int, tensor: Tensor) -> None:
        self.meter, self.key, self.tensor = meter, key, tensor

    def __del__(self) -> None:
        self.meter.release(self.key)


class SavedBytes(torch.autograd.graph.saved_tensors_hooks):
    r"""Counts the bytes of the storages that graphs hold: $\max_t \sum_{s \in S_t} |s|$.

    A storage counts once, however many views of it are kept, for as long as one of them is; those
    of parameters, a frozen teacher's too, and of ``known`` tensors (buffers, the batch itself) do
    not count, since they would exist anyway.
    It works on every device, and sees the tensors of graphs that are built, used and freed one
    after the other.

    Args:
        known: tensors whose storages do not count either.

    Attributes:
        live: bytes that are held now.
        peak: the most that were held at one time.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        self.live = self.peak = 0
        self._known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self._counts: dict[int, list[int]] = {}  # storage -> holders, bytes
        super().__init__(self._pack, self._unpack)

    def __enter__(self) -> "SavedBytes":  # type: ignore[override]
        super().__enter__()
        return self

    def _pack(self, tensor: Tensor) -> Any:
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key == 0 or key in self._known or _is_weight(tensor):
            return tensor
        entry = self._counts.setdefault(key, [0, storage.nbytes()])
        if not entry[0]:
            self.live += entry[1]
            self.peak = max(self.peak, self.live)
        entry[0] += 1
        return _Held(self, key, tensor)

    @staticmethod
    def _unpack(held: Any) -> Tensor:
        return held.tensor if isinstance(held, _Held) else held

    def of(self, tensor: Tensor) -> int:
        """Return the bytes that are held of this tensor's storage."""
        return self._counts.get(tensor.untyped_storage().data_ptr(), (0, 0))[1]

    def release(self, key: int) -> None:
        """Count one holder of a storage less."""
        entry = self._counts[key]
        entry[0] -= 1
        if not entry[0]:
            self.live -= entry[1]
            del self._counts[key]


def _is_weight(tensor: Tensor) -> bool:
    """Tell whether a tensor is a parameter, or a view of one."""
    return isinstance(tensor, nn.Parameter) or isinstance(tensor._base, nn.Parameter)
