"""How a text is drawn from a language model, token by token, from a cache."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
