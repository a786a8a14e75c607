"""Blocks that several groups share."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
