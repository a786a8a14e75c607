"""How features of a map's unseen cells follow from those of a block that is seen."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
