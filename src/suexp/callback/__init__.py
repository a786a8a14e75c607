"""Extra measurements that an experiment hangs on its runs."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
