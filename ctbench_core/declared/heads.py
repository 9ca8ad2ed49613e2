"""The registered heads, by name: what stands between an embedding and the logits."""

from __future__ import annotations

from dataclasses import dataclass

from ctbench_core.errors import unknown_name


@dataclass(frozen=True)
class Head:
    """One head: its title, and how it is trained.

    ``stepwise`` heads are trained batch by batch, in banks; the others are fitted whole. ``learned`` is false for
    heads that only compare with stored vectors.
    """

    title: str
    stepwise: bool = False
    learned: bool = True


HEADS = {
    "mlp": Head("MLP", stepwise=True),
    "linear": Head("Linear", stepwise=True),
    "logistic": Head("Logistic"),
    "knn": Head("kNN", learned=False),
    "zero_shot": Head("Zero-shot", learned=False),
}

STEPWISE = tuple(name for name, head in HEADS.items() if head.stepwise)
UNLEARNED = tuple(name for name, head in HEADS.items() if not head.learned)

# Import paths in older configs; they are looked up here, never imported.
HEAD_ALIASES = {
    "classification.models.mlp.MLP": "mlp",
    "src.classification.models.mlp.MLP": "mlp",
    "linear_probe": "linear",
}


def head_name(target: str) -> str:
    """Return the registered name of ``model._target_``.

    Raises:
        ConfigError: it names no registered head.
    """
    name = HEAD_ALIASES.get(target, target)
    if name not in HEADS:
        raise unknown_name("head", target, [*HEADS, *HEAD_ALIASES])
    return name
