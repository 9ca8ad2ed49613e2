"""Networks over stacked parameters: forward and gradient of K heads at once.

A network holds no parameters, only scratch memory: the bank hands it weights and takes gradients. `Mlp` has its
gradient written out into memory that is used again at every step; `Network` gives any other one through autograd.
Weights lie as (in, out), the layout in which the products of a step are fastest; dropout comes as random bytes.

A head that steps alone has its first hidden layer in parts, one a thread: parts are to a product what heads are to
one of a bank. Each thread then multiplies, and moves by Adam, weights that are already in its own cache; the library
would divide one product of all hidden units in ways of its own. The second layer sums over the parts.

Shape suffixes: K heads, or the parts of the one head; B batch rows, D features, H hidden units, C findings.

MERGED: Two modalities weighed against each other for each volume, before the first non-linearity.

z = g * (W_v v + b_v) + (1 - g) * (W_t t + b_t), with g = sigmoid(W_g [v, t] + b_g): one weight a volume, or one for
each unit of z (Arevalo et al., Gated Multimodal Units, ICLR workshop 2017, with the gate ahead of the activation so
that standardisation folds into the weights). z is the first hidden layer, or the logits where there is none.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Layer = tuple[Tensor, Tensor]  # weight (K, in, out), bias (K, 1, out)
# Fewest hidden units that are worth a product of their own: layers of 512 are 8 % slower in parts, of 1,024 5 % faster.
PART = 512
_cut = torch.ops.aten.threshold_backward.grad_input  # _cut(a, b, t): a where b > t, else 0, in one pass


class Shape(NamedTuple):
    """Name of a layer in a state_dict, and its widths."""

    name: str
    inner: int
    outer: int


def parts_for(width: int, heads: int, device: str) -> int:
    """Return in how many parts the first hidden layer of so many heads, ``width`` units each, should lie."""
    threads = torch.get_num_threads()
    return threads if heads == 1 and device == "cpu" and width % threads == 0 and width // threads >= PART else 1


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


class Network:
    """The base: subclasses give ``shapes``, ``hidden`` and `logits`; gradients come from autograd."""

    shapes: list[Shape]
    hidden: list[int]  # widths that dropout works on
    reads: dict[str, slice]  # layers that read features, and which
    parts = 1  # of the units of the first layer

    def __init__(self, dropout: Dropout) -> None:
        self.dropout = dropout

    def in_parts(self, units_S1BH: Tensor) -> Tensor:
        """Lay what belongs to the units of the first layer, (S, 1, B, H), out as its parts, (S, parts, B, H / parts)."""
        if self.parts == 1:
            return units_S1BH
        steps, _, rows, width = units_S1BH.shape
        apart = units_S1BH.view(steps, rows, self.parts, width // self.parts)
        return apart.transpose(1, 2).contiguous()

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

    def __init__(self, widths: Sequence[int], dropout: Dropout, parts: int = 1) -> None:
        super().__init__(dropout if len(widths) > 2 else Dropout(0))
        self.shapes = [Shape(f"network.{3 * i}", a, b) for i, (a, b) in enumerate(itertools.pairwise(widths))]
        self.hidden, self.reads = list(widths[1:-1]), {"network.0": slice(None)}
        self.parts = parts
        self._scratch: dict[tuple[str, int, int, int, torch.dtype], Tensor] = {}
        self._inputs: list[Tensor] = []

    def logits(self, layers: Sequence[Layer], x_KBD: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        a = x_KBD
        for i, (weight, bias) in enumerate(layers[:-1]):
            a = _affine(a, weight, bias, out=self._memory("out", i, x_KBD, bias)).relu_()
            a = a * masks[i] if masks else a
        return _affine(a, *layers[-1])

    def forward(self, layers: Sequence[Layer], x_KBD: Tensor, draws: Sequence[Tensor], out_KBC: Tensor) -> None:
        self._inputs, scale = [x_KBD], 1.0
        for i, (weight, bias) in enumerate(layers[:-1]):
            out = self._memory("out", i, x_KBD, bias)
            _affine(self._inputs[-1], weight, bias, scale, out).relu_()
            if draws:
                mask = self._memory("scratch", i, x_KBD, bias).copy_(draws[i])
                _cut(out, mask, self.dropout.limit, grad_input=out)
                scale = self.dropout.scale  # of the units just cut; multiplied in where it costs nothing
            self._inputs.append(out)
        weight, bias = layers[-1]
        if out_KBC.dtype == weight.dtype:
            _affine(self._inputs[-1], weight, bias, scale, out_KBC)
        else:  # narrow products, wide loss
            out_KBC.copy_(_affine(self._inputs[-1], weight, bias, scale))

    def backward(self, layers: Sequence[Layer], slope_KBC: Tensor, grads: Sequence[Layer]) -> None:
        """Write gradients out: a unit that ReLU or dropout cut left a zero in its layer's output and passes none on."""
        delta = slope_KBC.to(layers[0][0].dtype)
        for i in range(len(layers) - 1, -1, -1):
            (weight_grad, bias_grad), slope, scale = grads[i], delta, self.dropout.scale if i else 1.0
            delta = _spread(slope, len(weight_grad))
            _product(_spread(self._inputs[i], len(weight_grad)).mT, delta, scale, weight_grad)
            if i:
                back = self._memory("scratch", i - 1, delta, layers[i - 1][1])  # the masks there have done their work
                _product(delta, layers[i][0].mT, scale, back)
                delta = _cut(back, self._inputs[i], 0, grad_input=back)
            torch.sum(slope, dim=1, keepdim=True, out=bias_grad)

    def _memory(self, use: str, layer: int, rows: Tensor, bias: Tensor) -> Tensor:
        """Return scratch memory (K, B, H) for a layer's output, the same at every step of one batch shape."""
        key = (use, layer, len(bias), rows.shape[1], rows.dtype)
        found = self._scratch.get(key)
        if found is None:
            with torch.inference_mode(False):  # may be written to in any mode
                found = self._scratch[key] = rows.new_empty((len(bias), rows.shape[1], bias.shape[2]))
        return found


def _affine(a: Tensor, weight: Tensor, bias: Tensor, scale: float = 1.0, out: Tensor | None = None) -> Tensor:
    """Return scale * a W + b of every head, or part; the parts of ``a`` are summed where ``bias`` has none."""
    if len(weight) != len(bias):
        summed = torch.addbmm(bias[0], a, weight, alpha=scale, out=None if out is None else out[0])
        return summed.unsqueeze(0) if out is None else out
    product = torch.bmm(_spread(a, len(weight)), weight, out=out)
    return torch.add(bias, product, alpha=scale, out=out)


def _spread(rows: Tensor, parts: int) -> Tensor:
    """Let every part see the rows (1, B, D) of their head."""
    return rows if len(rows) == parts else rows.expand(parts, -1, -1)


def _product(a: Tensor, b: Tensor, scale: float, out: Tensor) -> None:
    """Write scale * a b; scaling an operand first would be a pass over it, or an operation more."""
    torch.baddbmm(out, a, b, beta=0, alpha=scale, out=out)


class Gated(Network):
    """A head on visual and text features side by side; gradients come from autograd."""

    def __init__(self, parts: Sequence[int], widths: Sequence[int], gate: int, dropout: Dropout) -> None:
        super().__init__(dropout if len(widths) > 1 else Dropout(0))
        visual, text = parts
        first = widths[0]
        self.hidden = list(widths[:-1])
        self.shapes = [Shape("visual", visual, first), Shape("text", text, first), Shape("gate", visual + text, gate)]
        later = enumerate(itertools.pairwise(widths), start=1)
        self.shapes += [Shape(f"network.{3 * i}", a, b) for i, (a, b) in later]
        self.reads = {"visual": slice(0, visual), "text": slice(visual, None), "gate": slice(None)}

    def logits(self, layers: Sequence[Layer], x_KBD: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        visual, text, gate = (
            torch.baddbmm(bias, x_KBD[..., self.reads[name]], weight)
            for name, (weight, bias) in zip(("visual", "text", "gate"), layers)
        )
        share = torch.sigmoid(gate)
        a = share * visual + (1 - share) * text
        for i, (weight, bias) in enumerate(layers[3:]):
            a = torch.relu(a)
            a = a * masks[i] if masks else a
            a = torch.baddbmm(bias, a, weight)
        return a
