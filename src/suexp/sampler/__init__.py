"""How points are drawn from a score, the gradient of a log-density."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
