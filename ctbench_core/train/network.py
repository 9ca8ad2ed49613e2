"""Networks over stacked parameters: forward and gradient of K heads at once.

A network holds no parameters, only scratch memory: the bank hands it weights and takes gradients. `Mlp` has its
gradient written out into memory that is used again at every step; `Network` gives any other one through autograd.
Weights lie as (in, out), the layout in which the products of a step are fastest; dropout comes as random bytes.

Shape suffixes: K heads, B batch rows, D features, H hidden units, C findings.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Layer = tuple[Tensor, Tensor]  # weight (K, in, out), bias (K, 1, out)
_cut = torch.ops.aten.threshold_backward.grad_input  # _cut(a, b, t): a where b > t, else 0, in one pass


class Shape(NamedTuple):
    """Name of a layer in a state_dict, and its widths."""

    name: str
    inner: int
    outer: int


class Dropout:
    """Inverted dropout from one random byte a unit, ten times faster than float draws.

    The rate is thereby rounded to the nearest 1/256, and the scale is that of the rounded rate, so means are kept.
    """

    def __init__(self, rate: float) -> None:
        kept = max(1, round((1 - rate) * 256))
        self.active, self.scale = rate > 0, 256 / kept if rate > 0 else 1.0
        self.limit = 255 - kept  # a unit is kept when its byte is larger

    def mask(self, draws: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the factors of units: 0 or the scale."""
        return (
            (draws > self.limit).to(dtype).mul_(self.scale) if self.limit >= 0 else torch.ones_like(draws, dtype=dtype)
        )


def _widened(draws: Tensor, out: Tensor) -> Tensor:
    """Write bytes as floats; NumPy does so in one vector pass (5 us at 64 x 1,024), torch by threads that wait (37)."""
    if out.device.type != "cpu" or out.dtype == torch.bfloat16:
        return out.copy_(draws)
    np.copyto(out.numpy(), draws.numpy())
    return out


class Network:
    """The base: subclasses give ``shapes``, ``hidden`` and `logits`; gradients come from autograd."""

    shapes: list[Shape]
    hidden: list[int]  # widths that dropout works on
    reads: dict[str, slice]  # layers that read features, and which

    def __init__(self, dropout: Dropout) -> None:
        self.dropout = dropout

    def logits(self, layers: Sequence[Layer], x_KBD: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """Return logits (K, B, C); without masks, as in evaluation."""
        raise NotImplementedError

    def forward(self, layers: Sequence[Layer], x_KBD: Tensor, draws: Sequence[Tensor], out_KBC: Tensor) -> None:
        """Write training logits into ``out_KBC``, and remember what `backward` needs."""
        masks = [self.dropout.mask(draw, x_KBD.dtype) for draw in draws]
        with torch.inference_mode(False), torch.enable_grad():
            self._leaves = [tensor.detach().clone().requires_grad_(True) for layer in layers for tensor in layer]
            leaves = list(zip(self._leaves[::2], self._leaves[1::2]))
            self._out = self.logits(leaves, x_KBD.clone(), [mask.clone() for mask in masks])
        out_KBC.copy_(self._out.detach())

    def backward(self, layers: Sequence[Layer], slope_KBC: Tensor, grads: Sequence[Layer]) -> None:
        """Write the gradient of every parameter into ``grads``, given that of the logits; ``slope_KBC`` is used up."""
        with torch.inference_mode(False):
            found = torch.autograd.grad(self._out, self._leaves, slope_KBC.to(self._out.dtype, copy=True))
        for target, gradient in zip(itertools.chain.from_iterable(grads), found):
            target.copy_(gradient)


class Mlp(Network):
    """Linear, ReLU, Dropout, ..., Linear; with no hidden width, a linear head."""

    def __init__(self, widths: Sequence[int], dropout: Dropout) -> None:
        super().__init__(dropout if len(widths) > 2 else Dropout(0))
        self.shapes = [Shape(f"network.{3 * i}", a, b) for i, (a, b) in enumerate(itertools.pairwise(widths))]
        self.hidden, self.reads = list(widths[1:-1]), {"network.0": slice(None)}
        self._scratch: dict[tuple[str, int, torch.Size], Tensor] = {}
        self._inputs: list[Tensor] = []

    def logits(self, layers: Sequence[Layer], x_KBD: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        a = x_KBD
        for i, (weight, bias) in enumerate(layers[:-1]):
            a = torch.baddbmm(bias, a, weight).relu_()
            a = a * masks[i] if masks else a
        return torch.baddbmm(layers[-1][1], a, layers[-1][0])

    def forward(self, layers: Sequence[Layer], x_KBD: Tensor, draws: Sequence[Tensor], out_KBC: Tensor) -> None:
        self._inputs, scale = [x_KBD], 1.0
        for i, (weight, bias) in enumerate(layers[:-1]):
            out = self._memory("out", i, x_KBD, weight)
            torch.baddbmm(bias, self._inputs[-1], weight, alpha=scale, out=out).relu_()
            if draws:
                mask = _widened(draws[i], self._memory("mask", i, x_KBD, weight))
                _cut(out, mask, self.dropout.limit, grad_input=out)
                scale = self.dropout.scale  # of the units just cut; multiplied in where it costs nothing
            self._inputs.append(out)
        weight, bias = layers[-1]
        if out_KBC.dtype == weight.dtype:
            torch.baddbmm(bias, self._inputs[-1], weight, alpha=scale, out=out_KBC)
        else:  # narrow products, wide loss
            out_KBC.copy_(torch.baddbmm(bias, self._inputs[-1], weight, alpha=scale))

    def backward(self, layers: Sequence[Layer], slope_KBC: Tensor, grads: Sequence[Layer]) -> None:
        """Write gradients out: a unit that ReLU or dropout cut left a zero in its layer's output and passes none on."""
        delta = slope_KBC.to(layers[0][0].dtype)
        for i in range(len(layers) - 1, -1, -1):
            weight_grad, bias_grad = grads[i]
            torch.sum(delta, dim=1, keepdim=True, out=bias_grad)
            if i and self.dropout.scale != 1:
                delta.mul_(self.dropout.scale)
            torch.bmm(self._inputs[i].mT, delta, out=weight_grad)
            if i:
                weight = layers[i][0]
                back = self._memory("back", i, delta, weight.mT)
                torch.bmm(delta, weight.mT, out=back)
                delta = _cut(back, self._inputs[i], 0, grad_input=back)

    def _memory(self, use: str, layer: int, rows: Tensor, weight: Tensor) -> Tensor:
        """Return scratch memory (K, B, out), the same at every step of one batch shape."""
        key = (use, layer, rows.shape[:2])
        found = self._scratch.get(key)
        if found is None:
            found = self._scratch[key] = rows.new_empty((rows.shape[0], rows.shape[1], weight.shape[2]))
        return found
