"""The parameters of a stack: K heads of one shape, each head's parameters in one row of one tensor.

Shape suffixes: K heads, P parameters a head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ctbench_core.errors import CheckpointError
from ctbench_core.train.batches import stream
from ctbench_core.train.network import Layer, Network


class StackedParameters:
    """Parameters ``flat_KP`` and gradients ``grad_KP`` of K heads; the layers are views of them.

    A network may split its first layer into parts, whose weights then follow each other in memory. `to_canonical` and
    `to_parts` convert between that order and the canonical one of checkpoints and of networks without parts. Under
    mixed precision (``work`` narrower than ``dtype``) products read a narrow copy, which `update_work_copy` renews.
    """

    def __init__(
        self, network: Network, heads: int, dtype: torch.dtype, device: str, work: torch.dtype | None = None
    ) -> None:
        self.network, self.work = network, work or dtype
        count = sum(shape.outer * (shape.inner + 1) for shape in network.shapes)
        self.flat_KP = torch.zeros((heads, count), dtype=dtype, device=device)
        self.grad_KP = torch.zeros_like(self.flat_KP)
        self._mixed = self.work != dtype
        self._work_KP = self.flat_KP.to(self.work) if self._mixed else self.flat_KP
        self._work_grad_KP = self.grad_KP.to(self.work) if self._mixed else self.grad_KP
        self._layers: dict[int, tuple[list[Layer], list[Layer]]] = {}

    def __len__(self) -> int:
        return len(self.flat_KP)

    def initialise(self, k: int, seed: int) -> None:
        """Draw weights and biases as torch.nn.Linear does: uniform within 1/sqrt(fan-in)."""
        generator = stream(seed, "init")
        row = torch.empty_like(self.flat_KP[k])
        for shape, (weight, bias) in zip(self.network.shapes, self._canonical_views(row[None])):
            bound = 1 / math.sqrt(shape.inner)
            for target in (weight[0].T, bias[0, 0]):
                target.copy_(torch.empty(target.shape).uniform_(-bound, bound, generator=generator))
        self.flat_KP[k] = self.to_parts(row)

    def _canonical_views(self, flat: Tensor) -> list[Layer]:
        views, start, heads = [], 0, len(flat)
        for _, inner, outer in self.network.shapes:
            weight = flat[:, start : start + outer * inner].view(heads, inner, outer)
            start += outer * inner
            views.append((weight, flat[:, start : start + outer].unsqueeze(1)))
            start += outer
        return views

    def _views(self, flat: Tensor) -> list[Layer]:
        """View parameters as products read them: parts of the first layer are stacked like heads."""
        views, parts = self._canonical_views(flat), self.network.parts
        if parts > 1:
            (weight, bias), (next_weight, next_bias) = views[:2]
            inner, outer = weight.shape[1], weight.shape[2] // parts
            views[0] = (weight.view(parts, inner, outer), bias.view(parts, 1, outer))
            views[1] = (next_weight.view(parts, outer, -1), next_bias)
        return views

    def to_canonical(self, flat: Tensor) -> Tensor:
        """Return parameters (..., P) with every weight as (in, out)."""
        return self._reordered(flat, (self.network.parts, self.network.shapes[0].inner, -1))

    def to_parts(self, flat: Tensor) -> Tensor:
        """Return canonical parameters (..., P) in the order of this network's parts."""
        return self._reordered(flat, (self.network.shapes[0].inner, self.network.parts, -1))

    def _reordered(self, flat: Tensor, axes: tuple[int, int, int]) -> Tensor:
        if self.network.parts == 1:
            return flat
        cut = self.network.shapes[0].inner * self.network.shapes[0].outer
        first, rest = flat[..., :cut], flat[..., cut:]
        return torch.cat([first.unflatten(-1, axes).transpose(-3, -2).flatten(-3), rest], dim=-1)

    def leading_layers(self, heads: int) -> tuple[list[Layer], list[Layer]]:
        """Return parameters and gradients of the first heads, layer by layer, as products read and write them."""
        if heads not in self._layers:
            self._layers[heads] = (self._views(self._work_KP[:heads]), self._views(self._work_grad_KP[:heads]))
        return self._layers[heads]

    def update_work_copy(self) -> None:
        """Copy the parameters into the narrow copy."""
        if self._mixed:
            self._work_KP.copy_(self.flat_KP)

    def collect_gradients(self) -> None:
        """Copy the gradients back from the narrow copy."""
        if self._mixed:
            self.grad_KP.copy_(self._work_grad_KP)

    def logits(self, x_BD: Tensor, heads: slice = slice(None)) -> Tensor:
        """Return the logits of heads on shared rows (B, D), without dropout, shape (K, B, C)."""
        layers = [(weight[heads], bias[heads]) for weight, bias in self._views(self.flat_KP)]
        rows = x_BD.to(self.flat_KP.dtype)
        return self.network.logits(layers, rows.unsqueeze(0).expand(len(layers[0][0]), -1, -1))

    def state_dict(self, k: int) -> dict[str, Tensor]:
        """Return head k as a plain state_dict, on the CPU; weights as (out, in), as torch.nn.Linear holds them."""
        state, flat = {}, self.to_canonical(self.flat_KP[k : k + 1])
        for shape, (weight, bias) in zip(self.network.shapes, self._canonical_views(flat)):
            state[f"{shape.name}.weight"] = weight[0].detach().T.cpu().clone(memory_format=torch.contiguous_format)
            state[f"{shape.name}.bias"] = bias[0, 0].detach().cpu().clone()
        return state

    def load_state_dict(self, k: int, state: Mapping[str, Tensor]) -> None:
        """Copy a state_dict into head k; refuse a layer that is missing, unexpected, or of another shape."""
        self._check_shapes(state)
        row = torch.empty_like(self.flat_KP[k])
        for layer, (weight, bias) in zip(self.network.shapes, self._canonical_views(row[None])):
            weight[0].copy_(state[f"{layer.name}.weight"].T)
            bias[0, 0].copy_(state[f"{layer.name}.bias"])
        self.flat_KP[k] = self.to_parts(row)

    def _check_shapes(self, state: Mapping[str, Tensor]) -> None:
        expected: dict[str, tuple[int, ...]] = {}
        for layer in self.network.shapes:
            expected |= {f"{layer.name}.weight": (layer.outer, layer.inner), f"{layer.name}.bias": (layer.outer,)}
        for name, shape in expected.items():
            tensor = state.get(name)
            if tensor is None or tuple(tensor.shape) != shape:
                actual = "no such layer" if tensor is None else f"shape {tuple(tensor.shape)}"
                raise CheckpointError(
                    f"Checkpoint does not fit the head: {name} needs shape {shape}, found {actual}. "
                    "Use the run's own config, or the features it was trained on."
                )
        extra = sorted(set(state) - set(expected))
        if extra:
            raise CheckpointError(
                f"Checkpoint does not fit the head, which has no layers {', '.join(extra)}. Use the run's own config."
            )


def take_heads(source: Tensor, heads: Sequence[int]) -> Tensor:
    """Return some rows of a stacked tensor."""
    return source[torch.as_tensor(list(heads), device=source.device)]
