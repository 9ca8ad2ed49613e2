"""The parameters of a stack: K heads of one shape, each head's parameters in one row of one tensor.

Shape suffixes: K heads, P parameters a head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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
        self.flat_KP = torch.zeros((heads, network.size), dtype=dtype, device=device)
        self.grad_KP = torch.zeros_like(self.flat_KP)
        self._mixed = self.work != dtype
        self._work_KP = self.flat_KP.to(self.work) if self._mixed else self.flat_KP
        self._work_grad_KP = self.grad_KP.to(self.work) if self._mixed else self.grad_KP
        self._layers: dict[int, tuple[list[Layer], list[Layer]]] = {}

    def __len__(self) -> int:
        return len(self.flat_KP)

    def initialise(self, k: int, seed: int) -> None:
        """Draw the parameters of head k."""
        row = torch.empty_like(self.flat_KP[k])
        self.network.initialise(self.network.tensors(row), stream(seed, "init"))
        self.flat_KP[k] = self.to_parts(row)

    def _views(self, flat: Tensor) -> list[Layer]:
        """View parameters as products read them: parts of the first layer are stacked like heads."""
        views, parts = self.network.layers(flat), self.network.parts
        if parts > 1:
            (weight, bias), (next_weight, next_bias) = views[:2]
            inner, outer = weight.shape[1], weight.shape[2] // parts
            views[0] = (weight.view(parts, inner, outer), bias.view(parts, 1, outer))
            views[1] = (next_weight.view(parts, outer, -1), next_bias)
        return views

    def to_canonical(self, flat: Tensor) -> Tensor:
        """Return parameters (..., P) with every weight as (in, out)."""
        return self._reordered(flat, lambda inner, parts: (parts, inner, -1))

    def to_parts(self, flat: Tensor) -> Tensor:
        """Return canonical parameters (..., P) in the order of this network's parts."""
        return self._reordered(flat, lambda inner, parts: (inner, parts, -1))

    def _reordered(self, flat: Tensor, axes: Callable[[int, int], tuple[int, int, int]]) -> Tensor:
        if self.network.parts == 1:
            return flat
        inner, outer = self.network.shapes[0][1:]
        first, rest = flat[..., : inner * outer], flat[..., inner * outer :]
        turned = first.unflatten(-1, axes(inner, self.network.parts)).transpose(-3, -2)
        return torch.cat([turned.flatten(-3), rest], dim=-1)

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
        layers = [tuple(tensor[heads] for tensor in layer) for layer in self._views(self.flat_KP)]
        rows = x_BD.to(self.flat_KP.dtype)
        return self.network.logits(layers, rows.unsqueeze(0).expand(len(layers[0][0]), -1, -1))

    def state_dict(self, k: int) -> dict[str, Tensor]:
        """Return head k as a plain state_dict, on the CPU; weights as (out, in), as torch.nn.Linear holds them."""
        tensors = self.network.tensors(self.to_canonical(self.flat_KP[k]))
        return {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
        }

    def load_state_dict(self, k: int, state: Mapping[str, Tensor]) -> None:
        """Copy a state_dict into head k; refuse a layer that is missing, unexpected, or of another shape."""
        row = torch.empty_like(self.flat_KP[k])
        fill_tensors(self.network.tensors(row), state)
        self.flat_KP[k] = self.to_parts(row)


def fill_tensors(targets: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Copy a state_dict into tensors by name.

    Raises:
        CheckpointError: a layer is missing, unexpected, or of another shape.
    """
    for name, target in targets.items():
        tensor = state.get(name)
        if tensor is None or tensor.shape != target.shape:
            actual = "no such layer" if tensor is None else f"shape {tuple(tensor.shape)}"
            raise CheckpointError(
                f"Checkpoint does not fit the head: {name} needs shape {tuple(target.shape)}, found {actual}. "
                "Use the run's own config, or the features it was trained on."
            )
    extra = sorted(set(state) - set(targets))
    if extra:
        raise CheckpointError(
            f"Checkpoint does not fit the head, which has no layers {', '.join(extra)}. Use the run's own config."
        )
    for name, target in targets.items():
        target.copy_(state[name])


def take_heads(source: Tensor, heads: Sequence[int]) -> Tensor:
    """Return some rows of a stacked tensor."""
    return source[torch.as_tensor(list(heads), device=source.device)]
