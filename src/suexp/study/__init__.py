"""Searches of a space of configs with Optuna."""
