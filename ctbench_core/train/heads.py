"""Heads: what stands between an embedding and the C logits.

Registered names and aliases live in ``HEADS``; to add a head, add its layer widths there. Heads are
trained in a *bank*: K of them stacked in one tensor, K = 1 being the ordinary run.

Shape suffixes: K heads, B batch rows, D features, H hidden units, C findings, P parameters a head.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ctbench_core.config import ModelConfig
from ctbench_core.errors import CheckpointError, unknown_name
from ctbench_core.train.streams import stream

HEADS: dict[str, Callable[[ModelConfig], list[int]]] = {
    "mlp": lambda model: list(model.params.hidden_dims),
    "linear": lambda model: [],
}

# Import paths in older configs; they are looked up here, never imported.
HEAD_ALIASES = {
    "classification.models.mlp.MLP": "mlp",
    "src.classification.models.mlp.MLP": "mlp",
    "linear_probe": "linear",
}


def layer_widths(model: ModelConfig, in_features: int, classes: int) -> list[int]:
    """Return the widths of a head's layers, from ``in_features`` to ``classes``.

    Raises:
        ConfigError: ``model._target_`` names no registered head.
    """
    name = HEAD_ALIASES.get(model._target_, model._target_)
    if name not in HEADS:
        raise unknown_name("head", model._target_, [*HEADS, *HEAD_ALIASES])
    return [in_features, *HEADS[name](model), classes]


def parameter_count(widths: Sequence[int]) -> int:
    """Count the weights and biases of one head."""
    return sum(out * (inner + 1) for inner, out in itertools.pairwise(widths))


class Bank:
    """K heads of the same shape: Linear, ReLU, Dropout, ..., Linear, stacked along a first axis.

    All parameters live in one tensor ``flat_KP``; layer weights and gradients are views of it, so
    that an optimiser sees one tensor a head.
    """

    def __init__(
        self, widths: Sequence[int], seeds: Sequence[int], dropout: float, dtype: torch.dtype, device: str
    ) -> None:
        self.widths, self.seeds, self.dropout = list(widths), list(seeds), dropout
        shape = (len(seeds), parameter_count(widths))
        self.flat_KP = torch.empty(shape, dtype=dtype, device=device)
        self.grad_KP = torch.zeros_like(self.flat_KP)
        self.layers = self._views(self.flat_KP)
        self._grads = self._views(self.grad_KP)
        for k, seed in enumerate(self.seeds):
            self._initialise(k, seed)

    def _views(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        views, start, heads = [], 0, len(flat)
        for inner, out in itertools.pairwise(self.widths):
            weight = flat[:, start : start + out * inner].view(heads, out, inner)
            start += out * inner
            views.append((weight, flat[:, start : start + out]))
            start += out
        return views

    def _initialise(self, k: int, seed: int) -> None:
        """Draw weights and biases as torch.nn.Linear does: uniform within 1/sqrt(fan-in)."""
        generator = stream(seed, "init")
        for weight, bias in self.layers:
            bound = 1 / math.sqrt(weight.shape[2])
            for target in (weight[k], bias[k]):
                target.copy_(torch.empty(target.shape).uniform_(-bound, bound, generator=generator))

    def logits(self, x_BD: Tensor) -> Tensor:
        """Return the logits of every head on the same rows, shape (K, B, C), without dropout."""
        a = x_BD.unsqueeze(0).expand(len(self.seeds), -1, -1)
        for weight, bias in self.layers[:-1]:
            a = torch.baddbmm(bias.unsqueeze(1), a, weight.transpose(1, 2)).relu_()
        weight, bias = self.layers[-1]
        return torch.baddbmm(bias.unsqueeze(1), a, weight.transpose(1, 2))

    def forward(self, x_KBD: Tensor, generators: Sequence[torch.Generator]) -> tuple[Tensor, list[Tensor]]:
        """Return training logits (K, B, C) and the inputs of each layer, kept for ``backward``."""
        inputs = [x_KBD]
        for weight, bias in self.layers[:-1]:
            hidden = torch.baddbmm(bias.unsqueeze(1), inputs[-1], weight.transpose(1, 2)).relu_()
            if self.dropout > 0:
                hidden *= dropout_mask(hidden.shape, self.dropout, generators, hidden)
            inputs.append(hidden)
        weight, bias = self.layers[-1]
        return torch.baddbmm(bias.unsqueeze(1), inputs[-1], weight.transpose(1, 2)), inputs

    def backward(self, dlogits_KBC: Tensor, inputs: list[Tensor]) -> None:
        """Write the gradient of every parameter into ``grad_KP``.

        A hidden unit that was cut by ReLU or dropout left a zero in ``inputs``; the others passed on
        their value times the dropout scale, and so does the gradient.
        """
        scale = _keep_scale(self.dropout)
        delta = dlogits_KBC
        for layer in range(len(self.layers) - 1, -1, -1):
            weight_grad, bias_grad = self._grads[layer]
            torch.bmm(delta.transpose(1, 2), inputs[layer], out=weight_grad)
            torch.sum(delta, dim=1, out=bias_grad)
            if layer:
                delta = torch.bmm(delta, self.layers[layer][0])
                delta *= inputs[layer] > 0
                if scale != 1.0:
                    delta *= scale

    def state_dict(self, k: int) -> dict[str, Tensor]:
        """Return head k as the state_dict of an nn.Sequential named ``network``, on the CPU."""
        state = {}
        for i, (weight, bias) in enumerate(self.layers):
            state[f"network.{3 * i}.weight"] = weight[k].detach().cpu().clone()
            state[f"network.{3 * i}.bias"] = bias[k].detach().cpu().clone()
        return state

    def load_state_dict(self, k: int, state: Mapping[str, Tensor]) -> None:
        """Copy a state_dict into head k.

        Raises:
            CheckpointError: a layer is missing, unexpected, or of another shape.
        """
        expected = self.state_dict(k)
        for name, tensor in expected.items():
            found = state.get(name)
            if found is None or found.shape != tensor.shape:
                came = "no such layer" if found is None else f"shape {tuple(found.shape)}"
                raise CheckpointError(
                    f"Checkpoint does not fit the head: {name} needs shape {tuple(tensor.shape)}, found {came}. "
                    "Use the run's own config, or the features it was trained on."
                )
        extra = sorted(set(state) - set(expected))
        if extra:
            raise CheckpointError(f"Checkpoint has layers that the head has not: {', '.join(extra)}.")
        for i, (weight, bias) in enumerate(self.layers):
            weight[k].copy_(state[f"network.{3 * i}.weight"])
            bias[k].copy_(state[f"network.{3 * i}.bias"])


def _keep_bytes(dropout: float) -> int:
    """Express the share of kept units in 256ths: one random byte then decides a unit."""
    return max(1, round((1 - dropout) * 256))


def _keep_scale(dropout: float) -> float:
    return 256 / _keep_bytes(dropout)


def dropout_mask(shape: Sequence[int], dropout: float, generators: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """Draw inverted-dropout masks of shape (K, B, H), head k from ``generators[k]``.

    One random byte a unit is some ten times faster than a float draw; the dropout rate is thereby
    rounded to the nearest 1/256, and the scale is that of the rounded rate, so means are kept.
    """
    count = math.prod(shape[1:])
    draws = [torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None, generator=g) for g in generators]
    raw = torch.stack([draw.view(torch.uint8)[:count] for draw in draws]).to(like.device)
    kept = (raw <= _keep_bytes(dropout) - 1).view(*shape)  # a byte cannot be compared with 256
    return kept.to(like.dtype).mul_(_keep_scale(dropout))
