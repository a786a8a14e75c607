"""Counting the floating-point operations of a computation while it runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def _product(
    total: Sequence[int], a: Sequence[int], b: Sequence[int], *_: object, **__: object
) -> int:
    del total
    count = 2 * b[-1]
    for size in a:
        count *= size
    return count


@contextmanager
def counted() -> Iterator[FlopCounterMode]:
    """Count the products of matrices inside, two operations for each multiply-add.

    Attention takes its plain form meanwhile: torch's counter does not see inside the fused kernel
    of a CPU. Products that are added in place, as our linear attention does, count too; torch's own
    list lacks them.
    """
    aten = torch.ops.aten
    counter = FlopCounterMode(
        display=False, custom_mapping={aten.baddbmm_: _product, aten.addmm_: _product}
    )
    with sdpa_kernel(SDPBackend.MATH), counter:
        yield counter
