"""Optimisers and learning-rate schedules over a bank, each head with its own rate, decay and count of steps.

The fused kernels behind torch.optim are called directly: one pass over a head's parameters, no bookkeeping in
Python, and torch.optim's import of the compiler (a second at start-up) is spared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import hardshrink

from ctbench_core.config import TrainingConfig
from ctbench_core.errors import CheckpointError
from ctbench_core.train.bank import Bank

MOMENTUM = 0.9  # of SGD

# The first moment of a unit that no longer fires shrinks by a tenth a step and, after some 830, sticks among the
# subnormal numbers, on which a CPU is a hundred times slower: one step of Adam took 1.8 ms instead of .2 once a tenth
# of the hidden units were silent. What is below FAINT times the smallest normal number is therefore set to 0 often
# enough for nothing to get there; in all it would have moved a weight by 1e-24.
FAINT, CLEAR_EVERY = 2.0**27, 128  # .9 ** 128 > 2 ** -27


def _adam(tensors: dict[str, list[Tensor]], rate: float, decay: float, step: Any = torch._fused_adam_) -> None:
    step(
        tensors["param"],
        tensors["grad"],
        tensors["exp_avg"],
        tensors["exp_avg_sq"],
        [],
        tensors["step"],
        lr=rate,
        beta1=0.9,
        beta2=0.999,
        weight_decay=decay,
        eps=1e-8,
        amsgrad=False,
        maximize=False,
    )


def _adamw(tensors: dict[str, list[Tensor]], rate: float, decay: float) -> None:
    _adam(tensors, rate, decay, torch._fused_adamw_)


def _sgd(tensors: dict[str, list[Tensor]], rate: float, decay: float) -> None:
    torch._fused_sgd_(
        tensors["param"],
        tensors["grad"],
        tensors["exp_avg"],
        weight_decay=decay,
        momentum=MOMENTUM,
        lr=rate,
        dampening=0.0,
        nesterov=False,
        maximize=False,
        is_first_step=False,  # a buffer of zeros makes the first step like any other
    )


OPTIMISERS = {"adam": _adam, "adamw": _adamw, "sgd": _sgd}
_MOMENTS = {"adam": ("exp_avg", "exp_avg_sq"), "adamw": ("exp_avg", "exp_avg_sq"), "sgd": ("exp_avg",)}


_Group = tuple[dict[str, list[Tensor]], float, float]  # tensors of some heads, their rate and decay


class Optimiser:
    """The state of one optimiser for every head of a bank."""

    def __init__(self, bank: Bank, options: Sequence[TrainingConfig]) -> None:
        self.name = options[0].optimizer
        self._bank, self._options = bank, list(options)
        self.moments = {name: torch.zeros_like(bank.flat_KP) for name in _MOMENTS[self.name]}
        self.step_K = torch.zeros(len(bank), dtype=torch.float32, device=bank.flat_KP.device)
        self._rates, self._steps = [0.0] * len(bank), 0
        self._faint: dict[int, list[int]] = {}  # heads to clear, by the steps of the epoch modulo CLEAR_EVERY
        self._plans: dict[int, tuple[Tensor, list[_Group]]] = {}

    def start_epoch(self, epochs: Sequence[int]) -> None:
        """Set each head's learning rate for its present epoch."""
        rates = [learning_rate(options, epoch) for options, epoch in zip(self._options, epochs)]
        self._steps, self._faint = 0, {}
        for k, taken in enumerate(self.step_K.tolist()):
            # A head's own steps are counted: alone, in company and resumed it is cleared at the same ones.
            self._faint.setdefault(-int(taken) % CLEAR_EVERY, []).append(k)
        if rates != self._rates:
            self._rates, self._plans = rates, {}

    def step(self, heads: int) -> None:
        """Move the first heads by their gradients."""
        self._steps += 1
        for k in self._faint.get(self._steps % CLEAR_EVERY, ()):
            if k < heads:
                self._clear(k)
        if heads not in self._plans:
            self._plans[heads] = self._plan(heads)
        taken_K, groups = self._plans[heads]
        taken_K.add_(1)
        for tensors, rate, decay in groups:
            OPTIMISERS[self.name](tensors, rate, decay)

    def _plan(self, heads: int) -> tuple[Tensor, list[_Group]]:
        """Return the step counts of the first heads, and the heads that share rate and decay: one call moves them all."""
        whole = {"param": self._bank.flat_KP, "grad": self._bank.grad_KP, "step": self.step_K, **self.moments}
        groups: dict[tuple[float, float], list[int]] = {}
        for k in range(heads):
            groups.setdefault((self._rates[k], self._options[k].weight_decay), []).append(k)
        return self.step_K[:heads], [
            ({name: [tensor[k] for k in members] for name, tensor in whole.items()}, rate, decay)
            for (rate, decay), members in groups.items()
        ]

    def _clear(self, k: int) -> None:
        for tensor in self.moments.values():
            tensor[k].copy_(hardshrink(tensor[k], FAINT * torch.finfo(tensor.dtype).tiny))

    def state_dict(self, k: int) -> dict[str, Any]:
        """Return the state of head k, on the CPU."""
        moments = {name: self._bank.plain(tensor[k]).cpu().clone() for name, tensor in self.moments.items()}
        return {"name": self.name, "step": self.step_K[k].cpu().clone(), **moments}

    def load_state_dict(self, k: int, state: dict[str, Any]) -> None:
        """Restore head k.

        Raises:
            CheckpointError: the state is another optimiser's.
        """
        if state.get("name") != self.name:
            raise CheckpointError("It was made with another optimiser.")
        self.step_K[k] = state["step"]
        for name, tensor in self.moments.items():
            tensor[k].copy_(self._bank.laid(state[name]))


def learning_rate(options: TrainingConfig, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 1."""
    warmup = options.warmup_epochs
    if epoch <= warmup:
        return options.learning_rate * epoch / (warmup + 1)
    if options.scheduler == "none":
        return options.learning_rate
    done = (epoch - warmup - 1) / max(options.max_epochs - warmup, 1)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
