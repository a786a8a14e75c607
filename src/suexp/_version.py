"""The version, in a file of its own: no result depends on it."""

__version__ = "0.1.0"
