"""By what rule numbers are multiplied where models multiply by matrices."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
