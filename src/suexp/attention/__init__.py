"""How a query gathers values: head-split tensors in, head-split tensors out."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
