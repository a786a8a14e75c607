"""Networks: a transformer (decoder or encoder by its mask) and a multi-layer perceptron."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
