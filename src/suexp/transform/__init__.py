"""What is done to a parent's weights before a run starts from them."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
