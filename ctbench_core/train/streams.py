"""Random streams keyed by (seed, purpose, epoch), so that no draw depends on bank, device or thread."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def stream(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """Return a fresh CPU generator for one purpose of one epoch of one seed.

    Draws are made on the CPU and moved, so that they are the same on every device.
    """
    import torch

    digest = hashlib.blake2b(f"{seed}/{purpose}/{epoch}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
