"""Data sets, as tokenised Arrow tables with a fingerprint; none of these modules imports torch."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
