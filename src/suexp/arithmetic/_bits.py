"""The bits of floating-point numbers as integers, which are Mitchell's logarithms of them."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

INTEGERS = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
}


class Layout(NamedTuple):
    """What some numbers of a type are as integers.

    Attributes:
        integer: the type of these.
        mantissa: how many bits the mantissa has.
        one: 1.0; the sum of two logarithms has one too many of it.
        tiny: the smallest number with a leading one.
        infinity: infinity; what is larger is no number.
    """

    integer: torch.dtype
    mantissa: int
    one: int
    tiny: int
    infinity: int


@cache
def layout(dtype: torch.dtype) -> Layout:
    """Return the layout of a floating-point type.

    Raises:
        ValueError: another type.
    """
    if dtype not in INTEGERS:
        raise ValueError(
            f"no floating-point numbers with these bits: {dtype}; use float64, float32, bfloat16 "
            "or float16, and multiply_int for integers"
        )
    integer = INTEGERS[dtype]
    values = torch.tensor([1.0, torch.finfo(dtype).tiny, torch.inf], dtype=dtype)
    one, tiny, infinity = values.view(integer).tolist()
    # The smallest normal number is a one in the exponent, and nothing in the mantissa.
    return Layout(integer, tiny.bit_length() - 1, one, tiny, infinity)


def bits(x: Tensor) -> Tensor:
    """Return the bits of numbers as integers of their size."""
    return x.contiguous().view(layout(x.dtype).integer)


def magnitude(x: Tensor) -> Tensor:
    """Return the bits without the sign's."""
    found = bits(x)
    return found & torch.iinfo(found.dtype).max
