"""Verdicts on claims, from numbers alone."""
