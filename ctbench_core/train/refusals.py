"""What cannot be trained, decided before any feature is read; check, train, studies and the Train page ask here."""

from __future__ import annotations

from collections.abc import Sequence

from ctbench_core.config import KEYS, Config, get_key, resolved
from ctbench_core.dataset import check_sources
from ctbench_core.declared import HEADS, LOSSES, Head, head_of, load
from ctbench_core.errors import ConfigError
from ctbench_core.formatting import plural


def check_training(config: Config, labels: Sequence[str] = ()) -> None:
    """Refuse an unknown head or loss, and settings that they cannot be combined with.

    Args:
        labels: the findings, where they are known.

    Raises:
        ConfigError: the first reason, with what to change.
    """
    head, loss = HEADS.resolve(config.model._target_), LOSSES.resolve(config.training.loss._target_)
    if config.model.inputs == "gated" and not head.learns_gate:
        able = " or ".join(name for name, other in HEADS.items() if other.learns_gate)
        raise ConfigError(f"model.inputs=gated needs a head that learns the gate: {able}, not {head.name}.")
    if config.data.per_finding:
        _refuse_per_finding(config, labels)
    if not head.stepwise:
        _refuse_other_losses(config, head)
    for declared in (head, loss):
        message = load(declared.refuse)(config) if declared.refuse else None
        if message:
            raise ConfigError(message)
    check_class_weights(config, len(labels))


def check_device(name: str) -> None:
    """Refuse a value of ``utils.device`` that is unknown, or names a device that this machine lacks.

    Raises:
        ConfigError: it is one of these.
    """
    kind, _, index = name.partition(":")
    if name == "auto" or (kind == "cpu" and (not index or index.isdigit())):
        return  # every machine has these, and torch takes a second to load
    if kind != "cuda" or (index and not index.isdigit()):
        raise ConfigError(f"utils.device is {name!r}. Known: auto, cpu, cuda, cuda:N.")
    import torch

    if int(index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"utils.device is {name}, but this machine shows {plural(torch.cuda.device_count(), 'CUDA device')}. "
            "Use auto or cpu."
        )


def _refuse_per_finding(config: Config, labels: Sequence[str]) -> None:
    """Refuse features that differ by finding for heads that share layers, for other inputs, and findings without any."""
    name = head_of(config.model).name
    if name not in ("linear", "logistic") or config.model.inputs != "visual":
        raise ConfigError(
            f"data.per_finding trains one linear probe a finding, on visual features: it goes with model=linear_probe or "
            f"model=logistic and model.inputs=visual, not with {name} and {config.model.inputs}."
        )
    check_sources(config, labels)


def _refuse_other_losses(config: Config, head: Head) -> None:
    """Refuse a loss, or a parameter of it, that a head fitted whole would ignore."""
    loss = LOSSES.resolve(config.training.loss._target_)
    keys = ("training.loss._target_", *(f"training.loss.{name}" for name in loss.parameters))
    for key in keys:
        value, default = (resolved(KEYS[key], v) for v in (get_key(config, key), KEYS[key].default))
        if value != default:
            raise ConfigError(
                f"{head.title} is not trained with a loss, so {key}={value} has no effect. Set {key}={default}, or choose "
                f"a head that is trained in steps: {', '.join(name for name, other in HEADS.items() if other.stepwise)}."
            )


def check_class_weights(config: Config, findings: int) -> None:
    """Refuse class weights that are neither a known word nor one number for each finding; 0 findings = unknown.

    Raises:
        ConfigError: they are something else.
    """
    weights = config.training.loss.pos_weight
    if weights in (None, "auto", "none") or (isinstance(weights, list) and len(weights) == (findings or len(weights))):
        return
    of = f"each of the {plural(findings, 'finding')}" if findings else "each finding"
    raise ConfigError(f"training.loss.pos_weight is {weights!r}: expected auto, none, or one number for {of}.")


def refuse_zero_shot(config: Config) -> str | None:
    """Return what zero_shot lacks or cannot use."""
    if not config.model.prompts:
        return "zero_shot needs model.prompts: a .npz or .parquet of prompt embeddings."
    if config.data.standardise == "zscore":
        return "zero_shot compares raw embeddings with prompts. Set data.standardise to none or l2."
    return None
