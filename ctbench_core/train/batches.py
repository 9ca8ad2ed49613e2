"""The batches of an epoch, prepared several steps at a time: one gather and one draw of dropout bytes for a block.

Heads of a stack have their own rows, hence their own number of steps. They are ordered by falling number of rows, so
that the heads that still have a step are always the first ones. A short batch is filled up with a row whose labels
are all unknown, which adds nothing to the gradient.

Random streams are keyed by (seed, purpose, epoch), so that no draw depends on the other heads, the device or threads.

``training.shuffle=blocks`` reads a matrix that is larger than the memory in long runs: the matrix is cut into blocks
of rows, pools of blocks come in an order that depends on the epoch alone, so that all heads of a stack read the same
pool at a time, and each head shuffles the rows of a pool by its own seed.

Shape suffixes: K heads, S steps of a block, B batch rows, D features, C findings, H hidden units.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctbench_core.train.inputs import DeviceFeatures, Rows
from ctbench_core.train.losses import known_labels
from ctbench_core.train.network import Network

# Of training.shuffle=blocks: rows of the matrix that are read together, and how many such blocks are mixed.
SHUFFLE_ROWS, SHUFFLE_BLOCKS = 4096, 16

# A block holds at most this many steps, and about this many bytes of features: one head's block stays in the nearest
# cache of a core. The weights of a larger stack pass through that cache anyway, so larger blocks save more than they cost.
BLOCK_STEPS, BLOCK_BYTES = 16, 12 << 20


def stream(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """Return a generator for one purpose of one epoch of one seed; it draws on the CPU, the same for every device."""
    return torch.Generator().manual_seed(_stream_key(seed, purpose, epoch) >> 1)


class ByteStream:
    """Random bytes of one purpose of one epoch of one seed, for masks: half the price of torch's generator."""

    def __init__(self, seed: int, purpose: str, epoch: int = 0) -> None:
        self._bits = np.random.SFC64(_stream_key(seed, purpose, epoch))

    def draw(self, count: int, size: int) -> np.ndarray:
        """Return ``count`` rows of ``size`` bytes, uint8; drawing rows together or one by one gives the same."""
        words = -(-size // 8)
        return self._bits.random_raw(count * words).view(np.uint8).reshape(count, words * 8)[:, :size]


def _stream_key(seed: int, purpose: str, epoch: int) -> int:
    digest = hashlib.blake2b(f"{seed}/{purpose}/{epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


@dataclass(frozen=True)
class Block:
    """Some steps: features, targets without NaN, mask of the known labels and their count in each batch, random bytes.

    ``sizes``: for each step, the heads that take it and the rows of its batch. ``draws``: for each hidden layer
    (S, K, B, H), the first one split as the network splits its units.
    """

    x_SKBD: Tensor
    y_SKBC: Tensor
    known_SKBC: Tensor
    count_SK: Tensor
    draws: list[Tensor]
    sizes: list[tuple[int, int]]


class Batches:
    """Batches of K heads, ordered by falling number of rows."""

    def __init__(
        self,
        features: DeviceFeatures,
        heads: Sequence[Rows],
        batch_size: int,
        network: Network,
        shuffle: str = "rows",
    ) -> None:
        self.features, self.network, self.heads, self._shuffle = features, network, list(heads), shuffle
        self.lengths = [len(head.rows) for head in heads]
        self.batch_K = [min(batch_size, length) for length in self.lengths]
        self.steps_K = [-(-length // batch_size) for length in self.lengths]
        self._offsets, rows, targets = _join_rows(self.heads)
        self._rows, self._pad = torch.cat([rows, rows[:1]]), len(rows)
        labels, known = known_labels(torch.cat([targets, targets.new_full((1, targets.shape[1]), torch.nan)]))
        self._labels, self._known = labels, known

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
        """Return the row of each head's batch at each step, shape (steps, K, B)."""
        size = max(self.batch_K)
        index = torch.full((max(self.steps_K), len(seeds), size), self._pad)
        for k, (seed, epoch) in enumerate(zip(seeds, epochs)):
            order = torch.full((self.steps_K[k] * self.batch_K[k],), self._pad)
            order[: self.lengths[k]] = self._order(k, seed, epoch)
            order[: self.lengths[k]] += self._offsets[k]
            index[: self.steps_K[k], k, : self.batch_K[k]] = order.view(-1, self.batch_K[k])
        return index

    def _order(self, k: int, seed: int, epoch: int) -> Tensor:
        """Return the order in which a head reads its rows in an epoch."""
        order = torch.randperm(self.lengths[k], generator=stream(seed, "batches", epoch))
        if self._shuffle == "rows":
            return order
        blocks = self.heads[k].rows.cpu()[order] // SHUFFLE_ROWS
        count = -(-self.features.rows // SHUFFLE_ROWS)
        pools = torch.randperm(count, generator=stream(0, "blocks", epoch)) // SHUFFLE_BLOCKS
        return order[pools[blocks].argsort(stable=True)]

    def _block(self, index: Tensor, start: int, streams: Sequence[ByteStream]) -> Block:
        steps, heads, size = index.shape
        places = index.flatten().to(self._rows.device)
        known = self._known.index_select(0, places).view(steps, heads, size, -1)
        return Block(
            x_SKBD=self._inputs(index, places),
            y_SKBC=self._labels.index_select(0, places).view(steps, heads, size, -1),
            known_SKBC=known,
            count_SK=known.sum(dim=(2, 3), dtype=torch.float64),
            draws=self._draws(steps, start, streams) if self.network.draw_widths else [],
            sizes=[self._size(start + s) for s in range(steps)],
        )

    def _inputs(self, index: Tensor, places: Tensor) -> Tensor:
        steps, heads, size = index.shape
        scalers = [head.scaler for head in self.heads]
        if all(scaler is scalers[0] for scaler in scalers):
            return self.features.take(self._rows[places], scalers[0]).view(steps, heads, size, -1)
        inputs = self._rows.new_empty((steps, heads, size, self.features.width), dtype=self.features.dtype)
        for k, scaler in enumerate(scalers):
            inputs[:, k] = self.features.take(self._rows[index[:, k].flatten()], scaler).view(steps, size, -1)
        return inputs

    def _draws(self, steps: int, start: int, streams: Sequence[ByteStream]) -> list[Tensor]:
        """Draw a byte for every hidden unit of every row, each head from its own stream."""
        widths, size = self.network.draw_widths, max(self.batch_K)
        total = sum(widths)
        if len(streams) == 1:
            whole = torch.from_numpy(streams[0].draw(steps, size * total).reshape(steps, 1, size, total))
            first, *rest = whole.to(self.features.device).split(widths, dim=-1)
            return [self.network.split_units(first), *rest]
        padded = np.zeros((steps, len(streams), size, total), np.uint8)
        for k, source in enumerate(streams):
            own_steps = min(steps, max(0, self.steps_K[k] - start))
            if own_steps:
                rows = self.batch_K[k]
                padded[:own_steps, k, :rows] = source.draw(own_steps, rows * total).reshape(own_steps, rows, total)
        whole = torch.from_numpy(padded).to(self.features.device)
        return list(whole.split(widths, dim=-1))

    def _size(self, step: int) -> tuple[int, int]:
        heads = sum(steps > step for steps in self.steps_K)
        lengths = zip(self.batch_K[:heads], self.lengths[:heads])
        return heads, max(min(batch, length - step * batch) for batch, length in lengths)


def _join_rows(heads: Sequence[Rows]) -> tuple[list[int], Tensor, Tensor]:
    """Return each head's offset, and the rows and targets of all heads end to end, shared ones only once."""
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
