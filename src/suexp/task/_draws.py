"""Random numbers that are a function of what they are for: a resumed run draws the same."""

import hashlib

import torch


def hashed(*parts: object) -> int:
    """Return a number of 64 bits that depends on all parts."""
    key = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big")


def generator_of(device: torch.device, *parts: object) -> torch.Generator:
    """Return a generator that depends on all parts."""
    return torch.Generator(device).manual_seed(hashed(*parts) >> 1)
