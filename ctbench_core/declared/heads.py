"""The registered heads: models from embeddings to logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ctbench_core.declared.keys import Parameters
from ctbench_core.declared.registry import Registry


@dataclass(frozen=True)
class Head:
    """One head. One of ``network``, ``module`` and ``fitter`` builds it, referenced by ``module:name`` like all functions.

    Attributes:
        network: (ModelConfig, widths of the inputs, findings) to a `Network`, which trains many heads in one step.
        module: a ``torch.nn.Module`` class of (ModelParams, features, findings), trained step by step by autograd.
        fitter: a `Fitter` class of (Config, Dataset, device), which fits the head whole.
        phrase: what Methods says. Of a head trained in steps a noun, to which its keys are added; of one fitted whole
            sentences, with ``{data}``, ``{weighting}``, ``{monitor}`` and its keys by their last name.
        defaults: config keys and their values where ``model=<name>`` chooses the head and nothing else sets them.
        keys: config keys that the head uses, besides its parameters and those of all heads of its kind.
        parameters: its own keys ``model.params.<name>``.
        size: (ModelConfig, features, findings) to the number of learned weights and biases; empty = those of the
            module, and none of a fitter.
        tensors, reader: how the names of its stored tensors begin, and the `StoredHead` class of (state_dict, device)
            that reads them; empty = a network or the module.
        learns_gate: whether ``model.inputs=gated`` is possible.
        refuse: config to a message about what the head cannot be combined with, else None; empty = nothing.
    """

    name: str
    title: str
    phrase: str
    network: str = ""
    module: str = ""
    fitter: str = ""
    aliases: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    parameters: Parameters = field(default_factory=dict)
    size: str = ""
    tensors: str = ""
    reader: str = ""
    learns_gate: bool = False
    refuse: str = ""

    @property
    def stepwise(self) -> bool:
        """Whether it is trained batch by batch."""
        return not self.fitter

    @property
    def own_keys(self) -> tuple[str, ...]:
        """The config keys that this head uses and not every head does."""
        return (*self.keys, *(f"model.params.{name}" for name in self.parameters))


HEADS = Registry(
    "head",
    (
        Head(
            "mlp",
            "MLP",
            "MLP",
            network="ctbench_core.train.network:chain",
            aliases=("mlp_visual", "classification.models.mlp.MLP", "src.classification.models.mlp.MLP"),
            keys=("model.params.hidden_dims", "model.params.dropout"),
            size="ctbench_core.train.planning:chain_size",
            learns_gate=True,
        ),
        Head(
            "linear",
            "Linear",
            "linear",
            network="ctbench_core.train.network:chain",
            aliases=("linear_probe",),
            # Features of unlike scales need unlike rates and epochs; z-scores make one rate reach the optimum on all
            # (as the BatchNorm without weights ahead of linear probes: He et al., CVPR 2022, appendix A.1).
            defaults={"data.standardise": "zscore", "training.learning_rate": 3e-3},
            size="ctbench_core.train.planning:chain_size",
            learns_gate=True,
        ),
        Head(
            "logistic",
            "Logistic",
            "L2-penalised logistic regression{weighting} was fitted on frozen {data}. Of the penalties C = {c}, the one "
            "with the best validation {monitor} was selected.",
            fitter="ctbench_core.train.fitted:Logistic",
            keys=("model.params.c", "training.loss.pos_weight"),
            size="ctbench_core.train.planning:chain_size",
        ),
        Head(
            "knn",
            "kNN",
            "k-nearest-neighbour classification was used on frozen {data}. Of k = {k}, the one with the best validation "
            "{monitor} was selected.",
            fitter="ctbench_core.train.fitted:Neighbours",
            keys=("model.params.k",),
            tensors="knn.",
            reader="ctbench_core.train.checkpoint:StoredNeighbours",
        ),
        Head(
            "zero_shot",
            "Zero-shot",
            "Frozen {data} were scored against prompt embeddings, without training.",
            fitter="ctbench_core.train.fitted:ZeroShot",
            keys=("model.prompts",),
            tensors="zero_shot.",
            reader="ctbench_core.train.checkpoint:StoredPrompts",
            refuse="ctbench_core.train.refusals:refuse_zero_shot",
        ),
    ),
)


def head_of(model: Any) -> Head:
    """Return the head of a ``ModelConfig``; an MLP without hidden layers is the linear head.

    Raises:
        ConfigError: no head has its name.
    """
    head = HEADS.resolve(model._target_)
    return HEADS["linear"] if head.name == "mlp" and not model.params.hidden_dims else head


def has_parameter(model: Any, key: str) -> bool:
    """Return whether a config key has a meaning for the head of a ``ModelConfig``; others than ``model.params`` have."""
    return not key.startswith("model.params.") or key in head_of(model).own_keys


def hidden_widths(model: Any) -> str:
    """Return the widths of the hidden layers of a ``ModelConfig`` as in ``1024-512``; empty where its head has none."""
    head = HEADS.get(HEADS.canonical(model._target_))
    uses_them = head is not None and "model.params.hidden_dims" in head.keys
    return "-".join(map(str, model.params.hidden_dims)) if uses_them else ""
