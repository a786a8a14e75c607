"""How training proceeds: what wraps a task's loss, its backward pass, or its networks."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
