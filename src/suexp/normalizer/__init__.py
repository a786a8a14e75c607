"""Normalisers: what turns the scores of classes or tokens into probabilities."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
