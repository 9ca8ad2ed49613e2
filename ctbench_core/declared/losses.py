"""The registered losses."""

from __future__ import annotations

from dataclasses import dataclass, field

from ctbench_core.declared.keys import Parameters, key
from ctbench_core.declared.registry import Registry


@dataclass(frozen=True)
class Loss:
    """One loss on logits; its functions are referenced by ``module:name``.

    Attributes:
        phrase: what Methods calls it; parameters that are not 0 are added.
        function: (logits, targets, and each parameter by name) to one value for each element. Targets are 0 or 1.
        gradient: the same arguments to the derivative with respect to each logit; empty = by autograd.
        logistic: whether it is the cross-entropy that ``model=logistic`` minimises: a linear head is compared with it.
        parameters: the keys ``training.loss.<name>``.
        refuse: config to a message about what the loss cannot be combined with, else None; empty = nothing.
    """

    name: str
    title: str
    phrase: str
    function: str
    gradient: str = ""
    logistic: bool = False
    aliases: tuple[str, ...] = ()
    parameters: Parameters = field(default_factory=dict)
    refuse: str = ""


LOSSES = Registry(
    "loss",
    (
        Loss(
            "bce",
            "BCE",
            "binary cross-entropy",
            "ctbench_core.train.losses:bce",
            "ctbench_core.train.losses:bce_gradient",
            logistic=True,
            aliases=("torch.nn.BCEWithLogitsLoss",),
            parameters={
                "smoothing": (
                    float,
                    key(
                        0.0,
                        "Label smoothing of BCE: targets become s/2 and 1 - s/2.",
                        scope="stack",
                        label="Label smoothing",
                        usual="0 to .1",
                        step=0.05,
                        low=0,
                        below=1,
                    ),
                )
            },
        ),
        Loss(
            "focal",
            "Focal",
            "focal loss",
            "ctbench_core.train.losses:focal",
            "ctbench_core.train.losses:focal_gradient",
            parameters={
                "gamma": (
                    float,
                    key(
                        2.0,
                        "Focusing of the focal loss; 0 is BCE.",
                        scope="stack",
                        label="Gamma",
                        usual="1 to 5",
                        step=0.5,
                        low=0,
                    ),
                )
            },
        ),
        Loss(
            "asymmetric",
            "Asymmetric",
            "asymmetric loss",
            "ctbench_core.train.losses:asymmetric",
            "ctbench_core.train.losses:asymmetric_gradient",
            parameters={
                "gamma_negative": (
                    float,
                    key(
                        4.0,
                        "Focusing of the asymmetric loss on negatives.",
                        scope="stack",
                        label="Focusing",
                        usual="2 to 5",
                        step=0.5,
                        low=0,
                    ),
                ),
                "margin": (
                    float,
                    key(
                        0.05,
                        "Margin of the asymmetric loss: a negative below this probability costs nothing.",
                        scope="stack",
                        label="Margin",
                        usual=".05 to .2",
                        step=0.05,
                        low=1e-3,
                        below=1,
                    ),
                ),
            },
        ),
    ),
)
