"""Views of a run's metrics; the truth is the run folder's metrics.jsonl."""

from suexp.lazy import exports

__getattr__, __dir__ = exports(__name__, __file__)
