"""Optimisers and learning-rate schedules; one parameter group a head, so that each has its own."""

from __future__ import annotations

import math

import torch

from ctbench_core.config import TrainingConfig
from ctbench_core.train.heads import Bank

# The fused kernels cost a third of the plain ones on the CPU.
OPTIMISERS = {
    "adam": lambda groups: torch.optim.Adam(groups, fused=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, fused=True),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=groups[0]["lr"], momentum=0.9, fused=True),
}


def make_optimizer(bank: Bank, options: TrainingConfig) -> torch.optim.Optimizer:
    """Build the optimiser of a bank; gradients are read from ``bank.grad_KP``."""
    groups = []
    for flat, grad in zip(bank.flat_KP, bank.grad_KP):
        parameter = flat.detach()
        parameter.grad = grad
        groups.append({"params": [parameter], "lr": options.learning_rate, "weight_decay": options.weight_decay})
    return OPTIMISERS[options.optimizer](groups)


def learning_rate(options: TrainingConfig, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 1."""
    warmup = options.warmup_epochs
    if epoch <= warmup:
        return options.learning_rate * epoch / (warmup + 1)
    if options.scheduler == "none":
        return options.learning_rate
    done = (epoch - warmup - 1) / max(options.max_epochs - warmup, 1)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
