"""Optimisers and learning-rate schedules of a stack, each head with its own rate, decay and count of steps.

The fused kernels behind torch.optim are called directly. That takes one pass over a head's parameters and no
bookkeeping in Python, and saves torch.optim's import of the compiler (a second at start-up).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import hardshrink

from ctbench_core.config import TrainingConfig
from ctbench_core.declared import OPTIMIZERS, SCHEDULES, load
from ctbench_core.errors import CheckpointError
from ctbench_core.train.parameters import StackedParameters

# The first moment of a unit that no longer fires shrinks by a tenth at each step. After some 830 steps it is subnormal,
# and a CPU computes with subnormal numbers a hundred times slower: a step of Adam took 1.8 ms instead of .2 once a
# tenth of the hidden units were silent. So every CLEAR_EVERY steps what is below FAINT times the smallest normal number
# is set to 0, before it becomes subnormal; in all it would have moved a weight by 1e-24.
FAINT, CLEAR_EVERY = 2.0**27, 128  # .9 ** 128 > 2 ** -27


_ADAM: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False, "maximize": False}
# With a buffer of zeros the first step needs no special case.
_SGD: dict[str, Any] = {"momentum": 0.9, "dampening": 0.0, "nesterov": False, "maximize": False, "is_first_step": False}


def adam(tensors: dict[str, list[Tensor]], rate: float, decay: float, step: Any = torch._fused_adam_) -> None:
    """Update some heads by Adam."""
    moments = tensors["exp_avg"], tensors["exp_avg_sq"]
    step(tensors["param"], tensors["grad"], *moments, [], tensors["step"], lr=rate, weight_decay=decay, **_ADAM)


def adamw(tensors: dict[str, list[Tensor]], rate: float, decay: float) -> None:
    """Update some heads by AdamW."""
    adam(tensors, rate, decay, torch._fused_adamw_)


def sgd(tensors: dict[str, list[Tensor]], rate: float, decay: float) -> None:
    """Update some heads by SGD with momentum."""
    torch._fused_sgd_(tensors["param"], tensors["grad"], tensors["exp_avg"], lr=rate, weight_decay=decay, **_SGD)


_Group = tuple[dict[str, list[Tensor]], float, float]  # tensors of some heads, their rate and decay


class Optimiser:
    """The state of one optimiser for every head of a stack."""

    def __init__(self, parameters: StackedParameters, options: Sequence[TrainingConfig]) -> None:
        declared = OPTIMIZERS.resolve(options[0].optimizer)
        self.name, self._update = declared.name, load(declared.step)
        self._parameters, self._options = parameters, list(options)
        self.moments = {name: torch.zeros_like(parameters.flat_KP) for name in declared.moments}
        self.step_K = torch.zeros(len(parameters), dtype=torch.float32, device=parameters.flat_KP.device)
        self._rates, self._steps = [0.0] * len(parameters), 0
        self._heads_to_clear: dict[int, list[int]] = {}  # by the steps of the epoch modulo CLEAR_EVERY
        self._plans: dict[int, tuple[Tensor, list[_Group]]] = {}

    def start_epoch(self, epochs: Sequence[int]) -> None:
        """Set each head's learning rate for its present epoch."""
        rates = [learning_rate(options, epoch) for options, epoch in zip(self._options, epochs)]
        self._steps, self._heads_to_clear = 0, {}
        for k, steps in enumerate(self.step_K.tolist()):
            # By a head's own steps: alone, in a stack or resumed, it is cleared at the same ones.
            self._heads_to_clear.setdefault(-int(steps) % CLEAR_EVERY, []).append(k)
        if rates != self._rates:
            self._rates, self._plans = rates, {}

    def step(self, heads: int) -> None:
        """Update the first heads by their gradients."""
        self._steps += 1
        for k in self._heads_to_clear.get(self._steps % CLEAR_EVERY, ()):
            if k < heads:
                self._clear_faint_moments(k)
        if heads not in self._plans:
            self._plans[heads] = self._plan(heads)
        step_K, groups = self._plans[heads]
        step_K.add_(1)
        for tensors, rate, decay in groups:
            self._update(tensors, rate, decay)

    def _plan(self, heads: int) -> tuple[Tensor, list[_Group]]:
        """Return the step counts of the first heads, and the groups with one rate and decay that one call updates."""
        whole = {
            "param": self._parameters.flat_KP,
            "grad": self._parameters.grad_KP,
            "step": self.step_K,
            **self.moments,
        }
        groups: dict[tuple[float, float], list[int]] = {}
        for k in range(heads):
            groups.setdefault((self._rates[k], self._options[k].weight_decay), []).append(k)
        return self.step_K[:heads], [
            ({name: [tensor[k] for k in group] for name, tensor in whole.items()}, rate, decay)
            for (rate, decay), group in groups.items()
        ]

    def _clear_faint_moments(self, k: int) -> None:
        for tensor in self.moments.values():
            tensor[k].copy_(hardshrink(tensor[k], FAINT * torch.finfo(tensor.dtype).tiny))

    def state_dict(self, k: int) -> dict[str, Any]:
        """Return the state of head k, on the CPU."""
        moments = {
            name: self._parameters.to_canonical(tensor[k]).cpu().clone() for name, tensor in self.moments.items()
        }
        return {"name": self.name, "step": self.step_K[k].cpu().clone(), **moments}

    def load_state_dict(self, k: int, state: dict[str, Any]) -> None:
        """Restore head k; refuse the state of another optimiser."""
        if state.get("name") != self.name:
            raise CheckpointError(f"It was made with another optimiser ({state.get('name')}, not {self.name}).")
        self.step_K[k] = state["step"]
        for name, tensor in self.moments.items():
            tensor[k].copy_(self._parameters.to_parts(state[name]))


def learning_rate(options: TrainingConfig, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 1."""
    warmup = options.warmup_epochs
    if epoch <= warmup:
        return options.learning_rate * epoch / (warmup + 1)
    done = (epoch - warmup - 1) / max(options.max_epochs - warmup, 1)
    return options.learning_rate * float(load(SCHEDULES.resolve(options.scheduler).factor)(done))


def constant(done: float) -> float:
    """Return 1: the rate stays."""
    return 1.0


def cosine(done: float) -> float:
    """Return half a period of the cosine, from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * done))
