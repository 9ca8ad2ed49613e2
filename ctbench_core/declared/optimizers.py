"""The registered optimisers and learning-rate schedules."""

from __future__ import annotations

from dataclasses import dataclass

from ctbench_core.declared.registry import Registry


@dataclass(frozen=True)
class Optimizer:
    """One optimiser.

    Attributes:
        step: ``module:name`` of a function of (tensors, learning rate, weight decay) that updates some heads in place.
            Tensors are lists by name, an item for each head: ``param`` and ``grad`` (P,), ``step``, and the moments.
        moments: names of the tensors (P,) that it keeps from step to step.
    """

    name: str
    title: str
    step: str
    moments: tuple[str, ...]
    aliases: tuple[str, ...] = ()


OPTIMIZERS = Registry(
    "optimiser",
    (
        Optimizer("adam", "Adam", "ctbench_core.train.optim:adam", ("exp_avg", "exp_avg_sq")),
        Optimizer("adamw", "AdamW", "ctbench_core.train.optim:adamw", ("exp_avg", "exp_avg_sq")),
        Optimizer("sgd", "SGD", "ctbench_core.train.optim:sgd", ("exp_avg",)),
    ),
)


@dataclass(frozen=True)
class Schedule:
    """One learning-rate schedule.

    Attributes:
        factor: ``module:name`` of a function from the share of epochs done since the warm-up, 0 to below 1, to the
            factor of the learning rate.
    """

    name: str
    title: str
    factor: str
    aliases: tuple[str, ...] = ()


SCHEDULES = Registry(
    "schedule",
    (
        Schedule("none", "Constant", "ctbench_core.train.optim:constant"),
        Schedule("cosine", "Cosine", "ctbench_core.train.optim:cosine"),
    ),
)
