"""Lists of different lengths, laid end to end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Ragged:
    """Owner i holds ``items[starts[i] : starts[i + 1]]``, ascending, each with a multiplicity."""

    starts: Tensor
    items: Tensor
    counts: Tensor

    @staticmethod
    def collect(owners: np.ndarray, items: np.ndarray, n_owners: int, device: torch.device) -> Ragged:
        """Gather (owner, item) pairs, int (N,) each, into one list an owner; repeats become a count."""
        width = int(items.max()) + 1
        pairs, counts = np.unique(owners.astype(np.int64) * width + items, return_counts=True)
        starts = np.searchsorted(pairs, np.arange(n_owners + 1, dtype=np.int64) * width)
        arrays = (starts, pairs % width, counts)
        return Ragged(*(torch.from_numpy(np.asarray(array, np.int64)).to(device) for array in arrays))

    def lengths(self) -> Tensor:
        """Return the number of distinct items of each owner."""
        return self.starts.diff()

    def totals(self) -> Tensor:
        """Return the number of items of each owner, repeats included."""
        summed = torch.nn.functional.pad(self.counts.cumsum(0), (1, 0))
        return summed[self.starts].diff()

    def take(self, owners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (row, item, count) of the named owners' items, flat; row numbers ``owners``."""
        starts = self.starts[owners]
        positions, row = expand(starts, self.starts[owners + 1])
        return row, self.items[positions], self.counts[positions]


def expand(starts: Tensor, stops: Tensor) -> tuple[Tensor, Tensor]:
    """Return every integer of the ranges [start, stop), end to end, and the range each is from."""
    lengths = stops - starts
    source = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
    shift = starts - (lengths.cumsum(0) - lengths)
    return torch.arange(len(source), device=source.device) + shift[source], source
