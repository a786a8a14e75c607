"""What is changed in a data set's rows before anything reads them."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
