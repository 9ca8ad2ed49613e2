"""Networks over stacked parameters: forward pass and gradient of K heads at once.

A network holds no parameters, only scratch memory; `StackedParameters` passes weights in and takes gradients out.
`Mlp` computes its gradient by formula, into memory that every step uses again; other networks use autograd. Weights
are stored as (in, out), the layout in which the products of a step are fastest. Dropout takes random bytes.

A head that trains alone has its first hidden layer in parts, one for each thread; a batched product treats parts like
heads. Each thread then multiplies and updates weights that are already in its own cache, whereas the library would
divide one product of all hidden units differently. The second layer sums over the parts.

Shape suffixes: K heads, or the parts of a single head; B batch rows, D features, H hidden units, C findings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ctbench_core.config import ModelConfig
from ctbench_core.train.inputs import Scaler, fold_scaler
from ctbench_core.train.planning import layer_widths

Layer = tuple[Tensor, ...]  # weight (K, in, out) and bias (K, 1, out); of a module one parameter (K, ...)
# Fewest hidden units of a part: layers of 512 are 8 % slower in parts, layers of 1,024 are 5 % faster.
PART = 512
_zero_below = torch.ops.aten.threshold_backward.grad_input  # (a, b, t): a where b > t, else 0, in one pass


class Shape(NamedTuple):
    """Name of a layer in a state_dict, and its widths."""

    name: str
    inner: int
    outer: int


class Dropout:
    """Inverted dropout from one random byte a unit, ten times faster than float draws.

    This rounds the rate to the nearest 1/256; the scale is that of the rounded rate, which keeps the mean.
    """

    def __init__(self, rate: float) -> None:
        bytes_on = max(1, round((1 - rate) * 256))
        self.active, self.scale = rate > 0, 256 / bytes_on if rate > 0 else 1.0
        self.limit = 255 - bytes_on  # a unit stays on when its byte is larger

    def mask(self, draws: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the factors of units: 0 or the scale."""
        if self.limit < 0:
            return torch.ones_like(draws, dtype=dtype)
        return (draws > self.limit).to(dtype).mul_(self.scale)


class Network:
    """Base class of layers with weight and bias, with gradients from autograd; subclasses define the attributes and `logits`."""

    shapes: list[Shape]
    hidden: list[int]  # widths of the layers with dropout
    input_slices: dict[str, slice]  # the features that each input layer reads
    parts = 1  # of the units of the first layer

    def __init__(self, dropout: Dropout) -> None:
        self.dropout = dropout

    @property
    def draw_widths(self) -> list[int]:
        """The random bytes that a training step needs for each row, layer by layer."""
        return self.hidden if self.dropout.active and self.dropout.limit >= 0 else []

    @property
    def size(self) -> int:
        """The number of parameters of a head."""
        return sum(shape.outer * (shape.inner + 1) for shape in self.shapes)

    def divide(self, heads: int, device: str) -> None:
        """Choose the number of parts of the first layer for a stack of so many heads."""

    def layers(self, flat_KP: Tensor) -> list[Layer]:
        """View the parameters of heads layer by layer."""
        layers: list[Layer] = []
        start, heads = 0, len(flat_KP)
        for _, inner, outer in self.shapes:
            weight = flat_KP[:, start : start + outer * inner].view(heads, inner, outer)
            start += outer * inner
            layers.append((weight, flat_KP[:, start : start + outer].unsqueeze(1)))
            start += outer
        return layers

    def tensors(self, flat_P: Tensor) -> dict[str, Tensor]:
        """View the parameters of one head as its state_dict names and shapes them: weights as (out, in)."""
        views: dict[str, Tensor] = {}
        for shape, (weight, bias) in zip(self.shapes, self.layers(flat_P.unsqueeze(0))):
            views |= {f"{shape.name}.weight": weight[0].T, f"{shape.name}.bias": bias[0, 0]}
        return views

    def initialise(self, tensors: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """Draw the parameters of one head as torch.nn.Linear does: uniform within 1/sqrt(fan-in)."""
        for shape in self.shapes:
            bound = 1 / math.sqrt(shape.inner)
            for target in (tensors[f"{shape.name}.weight"], tensors[f"{shape.name}.bias"]):
                target.copy_(torch.empty(target.shape).uniform_(-bound, bound, generator=generator))

    def stored(self, state: dict[str, Tensor], scaler: Scaler | None) -> dict[str, Tensor]:
        """Return a state_dict for unstandardised features."""
        return fold_scaler(state, self.input_slices, scaler)

    def split_units(self, units_S1BH: Tensor) -> Tensor:
        """Split values of the first layer's units (S, 1, B, H) into its parts: (S, parts, B, H / parts)."""
        if self.parts == 1:
            return units_S1BH
        steps, _, rows, width = units_S1BH.shape
        return units_S1BH.view(steps, rows, self.parts, width // self.parts).transpose(1, 2).contiguous()

    def logits(self, layers: Sequence[Layer], x_KBD: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """Return logits (K, B, C); evaluation passes no masks."""
        raise NotImplementedError

    def forward(self, layers: Sequence[Layer], x_KBD: Tensor, draws: Sequence[Tensor], out_KBC: Tensor) -> None:
        """Write training logits into ``out_KBC``, and keep what `backward` needs."""
        masks = [self.dropout.mask(draw, x_KBD.dtype) for draw in draws]
        with torch.inference_mode(False), torch.enable_grad():
            leaves = [tuple(tensor.detach().clone().requires_grad_(True) for tensor in layer) for layer in layers]
            self._leaves = list(itertools.chain.from_iterable(leaves))
            self._out = self.logits(leaves, x_KBD.clone(), [mask.clone() for mask in masks])
        out_KBC.copy_(self._out.detach())

    def backward(self, layers: Sequence[Layer], slope_KBC: Tensor, grads: Sequence[Layer]) -> None:
        """Write the gradient of every parameter into ``grads``, from that of the logits; ``slope_KBC`` is overwritten."""
        with torch.inference_mode(False):
            gradients = torch.autograd.grad(self._out, self._leaves, slope_KBC.to(self._out.dtype, copy=True))
        for target, gradient in zip(itertools.chain.from_iterable(grads), gradients):
            target.copy_(gradient)


class Mlp(Network):
    """Linear, ReLU, Dropout, ..., Linear; without hidden layers a linear head."""

    def __init__(self, widths: Sequence[int], dropout: Dropout, parts: int = 1) -> None:
        super().__init__(dropout if len(widths) > 2 else Dropout(0))
        self.shapes = [Shape(f"network.{3 * i}", a, b) for i, (a, b) in enumerate(itertools.pairwise(widths))]
        self.hidden, self.input_slices = list(widths[1:-1]), {"network.0": slice(None)}
        self.parts = parts
        self._scratch: dict[tuple[str, int, int, int, torch.dtype], Tensor] = {}
        self._inputs: list[Tensor] = []

    def divide(self, heads: int, device: str) -> None:
        """Give each thread a part of a wide first layer, where a head trains alone."""
        width, threads = self.shapes[0].outer, torch.get_num_threads()
        alone = heads == 1 and device == "cpu" and bool(self.hidden)
        self.parts = threads if alone and width % threads == 0 and width // threads >= PART else 1

    def logits(self, layers: Sequence[Layer], x_KBD: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        a = x_KBD
        for i, (weight, bias) in enumerate(layers[:-1]):
            a = _affine(a, weight, bias, out=self._memory("out", i, x_KBD, bias)).relu_()
            a = a * masks[i] if masks else a
        weight, bias = layers[-1]
        return _affine(a, weight, bias)

    def forward(self, layers: Sequence[Layer], x_KBD: Tensor, draws: Sequence[Tensor], out_KBC: Tensor) -> None:
        self._inputs, scale = [x_KBD], 1.0
        for i, (weight, bias) in enumerate(layers[:-1]):
            out = self._memory("out", i, x_KBD, bias)
            _affine(self._inputs[-1], weight, bias, scale, out).relu_()
            if draws:
                mask = self._memory("scratch", i, x_KBD, bias).copy_(draws[i])
                _zero_below(out, mask, self.dropout.limit, grad_input=out)
                scale = self.dropout.scale  # of the units that stay on; applied by the next product at no cost
            self._inputs.append(out)
        weight, bias = layers[-1]
        if out_KBC.dtype == weight.dtype:
            _affine(self._inputs[-1], weight, bias, scale, out_KBC)
        else:  # mixed precision: narrow products, wide loss
            out_KBC.copy_(_affine(self._inputs[-1], weight, bias, scale))

    def backward(self, layers: Sequence[Layer], slope_KBC: Tensor, grads: Sequence[Layer]) -> None:
        """Compute gradients by formula: a unit that ReLU or dropout set to 0 in its layer's output passes none on."""
        delta = slope_KBC.to(layers[0][0].dtype)
        for i in range(len(layers) - 1, -1, -1):
            (weight_grad, bias_grad), slope, scale = grads[i], delta, self.dropout.scale if i else 1.0
            delta = _expand_parts(slope, len(weight_grad))
            _write_product(_expand_parts(self._inputs[i], len(weight_grad)).mT, delta, scale, weight_grad)
            if i:
                back = self._memory("scratch", i - 1, delta, layers[i - 1][1])  # overwrites masks no longer needed
                _write_product(delta, layers[i][0].mT, scale, back)
                delta = _zero_below(back, self._inputs[i], 0, grad_input=back)
            torch.sum(slope, dim=1, keepdim=True, out=bias_grad)

    def _memory(self, use: str, layer: int, rows: Tensor, bias: Tensor) -> Tensor:
        """Return scratch memory (K, B, H) for a layer's output, the same at every step of one batch shape."""
        key = (use, layer, len(bias), rows.shape[1], rows.dtype)
        memory = self._scratch.get(key)
        if memory is None:
            with torch.inference_mode(False):  # may be written to in any mode
                memory = self._scratch[key] = rows.new_empty((len(bias), rows.shape[1], bias.shape[2]))
        return memory


class Probes(Mlp):
    """Linear heads side by side: each finding reads columns of its own, and its other weights stay 0."""

    def __init__(self, columns: Sequence[slice], width: int) -> None:
        super().__init__([width, len(columns)], Dropout(0))
        self._columns = columns
        self._is_read = torch.zeros(width, len(columns))
        for finding, own in enumerate(columns):
            self._is_read[own, finding] = 1

    def initialise(self, tensors: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """Draw each probe as torch.nn.Linear does: uniform within 1/sqrt(fan-in)."""
        weight, bias = tensors["network.0.weight"], tensors["network.0.bias"]
        weight.zero_()
        for finding, own in enumerate(self._columns):
            target = weight[finding, own]
            bound = 1 / math.sqrt(len(target))
            target.copy_(torch.empty(target.shape).uniform_(-bound, bound, generator=generator))
            bias[finding] = torch.empty(()).uniform_(-bound, bound, generator=generator)

    def backward(self, layers: Sequence[Layer], slope_KBC: Tensor, grads: Sequence[Layer]) -> None:
        super().backward(layers, slope_KBC, grads)
        grads[0][0].mul_(self._is_read.to(grads[0][0]))


def _affine(a: Tensor, weight: Tensor, bias: Tensor, scale: float = 1.0, out: Tensor | None = None) -> Tensor:
    """Return scale * a W + b for every head or part; sum over the parts of ``a`` where ``bias`` has none."""
    if len(weight) != len(bias):
        total = torch.addbmm(bias[0], a, weight, alpha=scale, out=None if out is None else out[0])
        return total.unsqueeze(0) if out is None else out
    product = torch.bmm(_expand_parts(a, len(weight)), weight, out=out)
    return torch.add(bias, product, alpha=scale, out=out)


def _expand_parts(rows: Tensor, parts: int) -> Tensor:
    """Repeat the rows (1, B, D) of a head for each of its parts, without a copy."""
    return rows if len(rows) == parts else rows.expand(parts, -1, -1)


def _write_product(a: Tensor, b: Tensor, scale: float, out: Tensor) -> None:
    """Write scale * a b; scaling an operand first would be one more pass over it."""
    torch.baddbmm(out, a, b, beta=0, alpha=scale, out=out)


class Gated(Network):
    """A head that weighs visual against text features for each volume, before the first non-linearity.

    z = g * (W_v v + b_v) + (1 - g) * (W_t t + b_t), with g = sigmoid(W_g [v, t] + b_g): one weight for each volume, or
    one for each unit of z (Arevalo et al., Gated Multimodal Units, ICLR workshop 2017, with the gate ahead of the
    activation so that standardisation folds into the weights). z is the first hidden layer, or the logits where there
    is none.
    """

    def __init__(self, parts: Sequence[int], widths: Sequence[int], gate: int, dropout: Dropout) -> None:
        super().__init__(dropout if len(widths) > 1 else Dropout(0))
        visual, text = parts
        first = widths[0]
        self.hidden = list(widths[:-1])
        self.shapes = [Shape("visual", visual, first), Shape("text", text, first), Shape("gate", visual + text, gate)]
        later = enumerate(itertools.pairwise(widths), start=1)
        self.shapes += [Shape(f"network.{3 * i}", a, b) for i, (a, b) in later]
        self.input_slices = {"visual": slice(0, visual), "text": slice(visual, None), "gate": slice(None)}

    def logits(self, layers: Sequence[Layer], x_KBD: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        visual, text, gate = (
            torch.baddbmm(bias, x_KBD[..., self.input_slices[name]], weight)
            for name, (weight, bias) in zip(("visual", "text", "gate"), layers)
        )
        share = torch.sigmoid(gate)
        a = share * visual + (1 - share) * text
        for i, (weight, bias) in enumerate(layers[3:]):
            a = torch.relu(a)
            a = a * masks[i] if masks else a
            a = torch.baddbmm(bias, a, weight)
        return a


def chain(model: ModelConfig, widths: Sequence[int], findings: int) -> Network:
    """Return a chain of linear layers on inputs of these widths, gated or not."""
    layers, dropout = layer_widths(model, sum(widths), findings), Dropout(model.params.dropout)
    if model.inputs != "gated":
        return Mlp(layers, dropout)
    return Gated(widths, layers[1:], 1 if model.params.gate == "scalar" else layers[1], dropout)
