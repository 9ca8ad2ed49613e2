"""What a training did, in the words of a Methods paragraph: from the config and status alone, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ctbench_core.config import Config
from ctbench_core.declared import STEPWISE, head_name, loss_name
from ctbench_core.label_leakage import encoder_name
from ctbench_core.runs import Run

_INPUTS = {
    "visual": "visual embeddings",
    "text": "report embeddings",
    "concat": "concatenated visual and report embeddings",
    "gated": "visual and report embeddings joined by a learned gate",
}


def training_sentences(runs: Sequence[Run]) -> list[str]:
    """Say how these runs were trained; where they differ, all values are named. Empty for predictions from a table."""
    trained = [run for run in runs if run.status.kind == "train"]
    groups: dict[str, list[Run]] = {}
    for run in trained:
        name = head_name(run.config.model._target_)
        groups.setdefault("stepwise" if name in STEPWISE else name, []).append(run)
    return [_SAID[kind](mine) for kind, mine in groups.items()]


def words(values: Sequence[object]) -> str:
    """Join the distinct values in the order given: ``1, 2 or 3``."""
    distinct = list(dict.fromkeys(str(value) for value in values))
    return distinct[0] if len(distinct) == 1 else f"{', '.join(distinct[:-1])} or {distinct[-1]}"


def _each(runs: Sequence[Run], of: Callable[[Config], object]) -> str:
    return words([of(run.config) for run in runs])


def _stepwise(runs: list[Run]) -> str:
    parts = [
        f"Heads ({_each(runs, _head)}) were trained on frozen {_data(runs)} with "
        f"{_each(runs, lambda c: c.training.optimizer)}, learning rate {_each(runs, lambda c: f'{c.training.learning_rate:g}')}, "
        f"batch size {_each(runs, lambda c: c.training.batch_size)}"
    ]
    if any(run.config.training.weight_decay for run in runs):
        parts.append(f"weight decay {_each(runs, lambda c: f'{c.training.weight_decay:g}')}")
    if any(run.config.training.scheduler != "none" for run in runs):
        parts.append(f"learning-rate schedule {_each(runs, lambda c: c.training.scheduler)}")
    parts.append(f"loss {_each(runs, _loss)}")
    return (
        f"{', '.join(parts)}, for {words([run.status.epoch for run in runs])} epochs (at most "
        f"{_each(runs, lambda c: c.training.max_epochs)}, stopped after {_each(runs, lambda c: c.training.early_stopping_patience)} "
        f"without a better validation {_monitor(runs)}); the best epoch by it was kept{_seeds(runs)}."
    )


def _logistic(runs: list[Run]) -> str:
    return (
        f"L2-penalised logistic regression{_each(runs, _weighted)} was fitted on frozen {_data(runs)}; of the penalties C = "
        f"{_each(runs, lambda c: ', '.join(f'{value:g}' for value in c.model.params.c))} the best by validation "
        f"{_monitor(runs)} was kept."
    )


def _knn(runs: list[Run]) -> str:
    return (
        f"k nearest neighbours were looked up among frozen {_data(runs)}; of k = "
        f"{_each(runs, lambda c: ', '.join(map(str, c.model.params.k)))} the best by validation {_monitor(runs)} was kept."
    )


def _zero_shot(runs: list[Run]) -> str:
    return f"Frozen {_data(runs)} were scored against prompt embeddings; nothing was trained."


_SAID = {"stepwise": _stepwise, "logistic": _logistic, "knn": _knn, "zero_shot": _zero_shot}


def _head(config: Config) -> str:
    name = head_name(config.model._target_)
    if name != "mlp" or not config.model.params.hidden_dims:
        return "linear"
    widths = "-".join(map(str, config.model.params.hidden_dims))
    return f"MLP with hidden width {widths}, dropout {config.model.params.dropout:g}"


def _loss(config: Config) -> str:
    loss = config.training.loss
    name = loss_name(loss._target_)
    return f"{'binary cross-entropy' if name == 'bce' else name}{_weighted(config)}"


def _weighted(config: Config) -> str:
    given = config.training.loss.pos_weight
    if given == "none":
        return ""
    return " with positives weighted by " + ("negatives / positives" if given in (None, "auto") else "given numbers")


def _data(runs: Sequence[Run]) -> str:
    text = _each(runs, lambda c: f"{_INPUTS[c.model.inputs]} ({encoder_name(c)})")
    if any(run.config.data.standardise != "none" for run in runs):
        text += f" (standardised: {_each(runs, lambda c: c.data.standardise)})"
    if any(run.config.data.budget for run in runs):
        text += f" of {_each(runs, _budget)}, validation included,"
    return text


def _budget(config: Config) -> str:
    return f"{config.data.budget} {config.data.budget_unit}s" if config.data.budget else "all patients"


def _monitor(runs: Sequence[Run]) -> str:
    names = {"auprc": "macro AUPRC", "auroc": "macro AUROC", "f1_macro": "macro F1", "loss": "loss"}
    return _each(runs, lambda c: names[c.training.monitor])


def _seeds(runs: Sequence[Run]) -> str:
    seeds = list(dict.fromkeys(run.config.utils.seed for run in runs))
    return f" (seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))})"
