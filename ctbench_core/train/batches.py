"""The rows of an epoch, several batches at a time: one gather, one draw of masks, one mean for many steps.

Heads of a bank have their own rows and so their own number of steps. They stand in falling order of rows, so that
the heads still at work at a step are always the first ones; a batch that is not full is filled with rows whose
labels are all unknown, which move nothing.

Shape suffixes: K heads, S steps of a block, B batch rows, D features, C findings, N volumes, M distinct inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctbench_core.train.losses import known_labels
from ctbench_core.train.network import Network
from ctbench_core.train.standardise import Scaler
from ctbench_core.train.streams import ByteStream, stream

# A block holds at most this many steps, and about this many bytes of features: one head's stays in the cache nearest
# to a core, and for a bank, whose weights pass through it anyway, larger blocks spare more than they cost.
BLOCK_STEPS, BLOCK_BYTES = 16, 12 << 20


class Features:
    """Rows of one feature matrix, ready for products: on the device where it fits, else taken from the map."""

    def __init__(self, matrix_MD: np.ndarray, dtype: torch.dtype, device: str) -> None:
        self.dtype, self.device = dtype, device
        # A packed store is mapped copy-on-write, so its matrix is writable and is not read before it is used.
        host = torch.from_numpy(matrix_MD if matrix_MD.flags.writeable else matrix_MD.copy())
        self._matrix = host.to(device) if device != "cpu" and _fits(host, device) else host
        self._kept = self._matrix.new_empty((0, host.shape[1]))
        self.scalers: dict[bytes, Scaler] = {}  # by the training rows that they were fitted on

    @property
    def width(self) -> int:
        """Length of an input vector."""
        return self._matrix.shape[1]

    def take(self, rows: Tensor, scaler: Scaler | None = None) -> Tensor:
        """Return rows (n, D) in the dtype of the products, standardised; they hold until the next call."""
        found = self._gather(rows.to(self._matrix.device)).to(self.device)
        if scaler is None:
            return found.to(self.dtype)
        return found.to(scaler.shift.dtype).sub(scaler.shift).div_(scaler.scale).to(self.dtype)

    def _gather(self, rows: Tensor) -> Tensor:
        """Gather into the same memory at each call: fresh memory costs a page fault every 4 kB."""
        if len(self._kept) < len(rows):
            with torch.inference_mode(False):  # may be written to in any mode
                self._kept = self._matrix.new_empty((len(rows), self.width))
        return torch.index_select(self._matrix, 0, rows, out=self._kept[: len(rows)])


@dataclass(frozen=True)
class Rows:
    """The rows of one split for one head: positions in the matrix (N,), targets (N, C) in {0, 1, NaN}."""

    rows: Tensor
    targets: Tensor
    scaler: Scaler | None = None


@dataclass(frozen=True)
class Block:
    """Some steps: features, targets without NaN, weights of the known labels in their batch's mean, random bytes.

    ``sizes``: of each step, the heads at work and the rows of its batch. ``draws``: by hidden layer, (S, K, B, H), the
    first as the network has its parts.
    """

    x_SKBD: Tensor
    y_SKBC: Tensor
    known_SKBC: Tensor
    count_SK: Tensor
    draws: list[Tensor]
    sizes: list[tuple[int, int]]


class Batches:
    """Batches of K heads, whose rows come in falling number."""

    def __init__(self, features: Features, heads: Sequence[Rows], batch_size: int, network: Network) -> None:
        self.features, self.network, self.heads = features, network, list(heads)
        self.lengths = [len(head.rows) for head in heads]
        self.batch_K = [min(batch_size, length) for length in self.lengths]
        self.steps_K = [-(-length // batch_size) for length in self.lengths]
        self._offsets, rows, targets = _tables(self.heads)
        self._rows, self._pad = torch.cat([rows, rows[:1]]), len(rows)
        labels, known = known_labels(torch.cat([targets, targets.new_full((1, targets.shape[1]), torch.nan)]))
        self._labels, self._known = labels, known
        self._masked = network.dropout.active and network.dropout.limit >= 0

    def epoch(self, seeds: Sequence[int], epochs: Sequence[int]) -> Iterator[Block]:
        """Yield the blocks of each head's present epoch."""
        index = self._index(seeds, epochs)
        streams = [ByteStream(seed, "dropout", epoch) for seed, epoch in zip(seeds, epochs)]
        steps, heads, size = index.shape
        bytes_a_step = heads * size * self.features.width * 4
        length = max(1, min(BLOCK_STEPS, BLOCK_BYTES // bytes_a_step))
        for start in range(0, steps, length):
            part = index[start : start + length]
            yield self._block(part, start, streams)

    def _index(self, seeds: Sequence[int], epochs: Sequence[int]) -> Tensor:
        """Return which row each head meets at each step, shape (steps, K, B)."""
        size = max(self.batch_K)
        index = torch.full((max(self.steps_K), len(seeds), size), self._pad)
        for k, (seed, epoch) in enumerate(zip(seeds, epochs)):
            order = torch.full((self.steps_K[k] * self.batch_K[k],), self._pad)
            order[: self.lengths[k]] = torch.randperm(self.lengths[k], generator=stream(seed, "batches", epoch))
            order[: self.lengths[k]] += self._offsets[k]
            index[: self.steps_K[k], k, : self.batch_K[k]] = order.view(-1, self.batch_K[k])
        return index

    def _block(self, index: Tensor, start: int, streams: Sequence[ByteStream]) -> Block:
        steps, heads, size = index.shape
        place = index.flatten().to(self._rows.device)
        known = self._known.index_select(0, place).view(steps, heads, size, -1)
        return Block(
            x_SKBD=self._take(index, place),
            y_SKBC=self._labels.index_select(0, place).view(steps, heads, size, -1),
            known_SKBC=known,
            count_SK=known.sum(dim=(2, 3), dtype=torch.float64),
            draws=self._draws(steps, start, streams) if self._masked else [],
            sizes=[self._size(start + s) for s in range(steps)],
        )

    def _take(self, index: Tensor, place: Tensor) -> Tensor:
        steps, heads, size = index.shape
        scalers = [head.scaler for head in self.heads]
        if all(scaler is scalers[0] for scaler in scalers):
            return self.features.take(self._rows[place], scalers[0]).view(steps, heads, size, -1)
        apart = [self.features.take(self._rows[index[:, k].flatten()], scaler) for k, scaler in enumerate(scalers)]
        return torch.stack([rows.view(steps, size, -1) for rows in apart], dim=1)

    def _draws(self, steps: int, start: int, streams: Sequence[ByteStream]) -> list[Tensor]:
        """Draw a byte for every hidden unit of every row, each head from its own stream."""
        widths, size = self.network.hidden, max(self.batch_K)
        total = sum(widths)
        if len(streams) == 1:
            whole = torch.from_numpy(streams[0].draw(steps, size * total).reshape(steps, 1, size, total))
            first, *rest = whole.to(self.features.device).split(widths, dim=-1)
            return [self.network.in_parts(first), *rest]
        drawn = np.zeros((steps, len(streams), size, total), np.uint8)
        for k, source in enumerate(streams):
            own = min(steps, max(0, self.steps_K[k] - start))
            if own:
                rows = self.batch_K[k]
                drawn[:own, k, :rows] = source.draw(own, rows * total).reshape(own, rows, total)
        whole = torch.from_numpy(drawn).to(self.features.device)
        return list(whole.split(widths, dim=-1))

    def _size(self, step: int) -> tuple[int, int]:
        working = sum(steps > step for steps in self.steps_K)
        rows = max(
            min(batch, length - step * batch) for batch, length in zip(self.batch_K[:working], self.lengths[:working])
        )
        return working, rows


def _tables(heads: Sequence[Rows]) -> tuple[list[int], Tensor, Tensor]:
    """Lay the rows of all heads end to end, those that heads share only once; return where each head's begin."""
    starts: dict[tuple[int, int], int] = {}
    rows, targets, offsets, total = [], [], [], 0
    for head in heads:
        key = (id(head.rows), id(head.targets))
        if key not in starts:
            starts[key] = total
            rows.append(head.rows)
            targets.append(head.targets)
            total += len(head.rows)
        offsets.append(starts[key])
    return offsets, torch.cat(rows), torch.cat(targets)


def _fits(host: Tensor, device: str) -> bool:
    """Whether a matrix takes at most half of the free memory of a device; the rest is for heads and batches."""
    free, _ = torch.cuda.mem_get_info(device)
    return host.numel() * host.element_size() <= free // 2
