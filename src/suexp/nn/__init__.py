"""Blocks that several groups share."""
