"""How a model learns where a token stands: on the embeddings, on q and k, or on the scores."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
