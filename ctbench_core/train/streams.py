"""Random streams keyed by (seed, purpose, epoch), so that no draw depends on bank, device or thread."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """Return a fresh CPU generator for one purpose of one epoch of one seed.

    Draws are made on the CPU and moved, so that they are the same on every device.
    """
    import torch

    return torch.Generator().manual_seed(_number(seed, purpose, epoch) >> 1)


class ByteStream:
    """Random bytes of one purpose of one epoch of one seed, for masks: half the price of torch's generator."""

    def __init__(self, seed: int, purpose: str, epoch: int = 0) -> None:
        self._bits = np.random.SFC64(_number(seed, purpose, epoch))

    def draw(self, count: int, size: int) -> np.ndarray:
        """Return ``count`` rows of ``size`` bytes, uint8; drawing rows together or one by one gives the same."""
        words = -(-size // 8)
        return self._bits.random_raw(count * words).view(np.uint8).reshape(count, words * 8)[:, :size]


def _number(seed: int, purpose: str, epoch: int) -> int:
    digest = hashlib.blake2b(f"{seed}/{purpose}/{epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
