"""Random draws that depend on a key alone: equal in every process, and after every resume."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(*key: int | str) -> int:
    """Return a 32-bit seed that is a fixed function of the key."""
    text = " ".join(str(part) for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def keyed_generator(*key: int | str) -> torch.Generator:
    """Return a CPU generator whose stream is a fixed function of the key."""
    return torch.Generator().manual_seed(derive_seed(*key))
