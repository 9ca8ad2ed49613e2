"""The registered heads by name: models from embeddings to logits."""

from __future__ import annotations

from dataclasses import dataclass

from ctbench_core.errors import unknown_name


@dataclass(frozen=True)
class Head:
    """Title of a head and how it is trained.

    A ``stepwise`` head is trained batch by batch, together with others; the other heads are fitted whole. A head that
    only compares with stored vectors is not ``learned``.
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

# Import paths in older configs; they are translated here, never imported.
HEAD_ALIASES = {
    "classification.models.mlp.MLP": "mlp",
    "src.classification.models.mlp.MLP": "mlp",
    "linear_probe": "linear",
}


def head_name(target: str) -> str:
    """Return the registered name of ``model._target_``.

    Raises:
        ConfigError: no head has this name.
    """
    name = HEAD_ALIASES.get(target, target)
    if name not in HEADS:
        raise unknown_name("head", target, [*HEADS, *HEAD_ALIASES])
    return name
