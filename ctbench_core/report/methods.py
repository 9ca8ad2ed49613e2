"""Write sentences of a Methods paragraph: training and test set, from config, status and ledger alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.declared import METRICS, STEPWISE, head_name, loss_name
from ctbench_core.formatting import plural
from ctbench_core.inference import MIN_MACRO_AUPRC, MIN_PATIENTS
from ctbench_core.label_leakage import encoder_name
from ctbench_core.runs import VALIDATION, Run, openings_of

_INPUTS = {
    "visual": "visual embeddings",
    "text": "report embeddings",
    "concat": "concatenated visual and report embeddings",
    "gated": "visual and report embeddings joined by a learned gate",
}
_OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}
_LOSSES = {"bce": "binary cross-entropy", "focal": "focal loss", "asymmetric": "asymmetric loss"}
_STANDARDISATION = {"none": "none", "zscore": "z-scores", "l2": "unit L2 norm"}
INTERVAL_CONDITION = (
    f"given for findings present in at least {MIN_PATIENTS} patients and absent in at least {MIN_PATIENTS} (for macro "
    f"AUPRC, {MIN_MACRO_AUPRC} in the median finding)"
)


def set_phrase(runs: Sequence[Run], name: str, n: Mapping[str, int]) -> str:
    """Return a set with its size, a test set by its file name in the ledger: ``the test set ("test.csv"; 2 volumes)``."""
    files = [Path(str(entry["manifest"])).name for entry in openings_of(runs, name)]
    title = "the validation set (" if name == VALIDATION else f'the test set ("{files[-1] if files else name}"; '
    volumes, exams, patients = (plural(n[f"{unit}s"], unit) for unit in ("volume", "exam", "patient"))
    return f"{title}{volumes} of {exams} and {patients})"


def training_sentences(runs: Sequence[Run]) -> list[str]:
    """Return how runs were trained, with all values where they differ; nothing for predictions from a table."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.status.kind == "train":
            name = head_name(run.config.model._target_)
            groups.setdefault("stepwise" if name in STEPWISE else name, []).append(run)
    return [_SENTENCES[kind](group) for kind, group in groups.items()]


def join_distinct(values: Sequence[object]) -> str:
    """Join the distinct values in their order: ``1, 2 or 3``."""
    distinct = list(dict.fromkeys(str(value) for value in values))
    return distinct[0] if len(distinct) == 1 else f"{', '.join(distinct[:-1])} or {distinct[-1]}"


def _each(runs: Sequence[Run], value: Callable[[Config], object]) -> str:
    return join_distinct([value(run.config) for run in runs])


def _stepwise(runs: list[Run]) -> str:
    subject, verb = ("A head", "was") if len(runs) == 1 else ("Heads", "were")
    parts = [
        f"{subject} ({_each(runs, _head)}) {verb} trained on frozen {_data(runs)} with "
        f"{_each(runs, lambda c: _OPTIMIZERS[c.training.optimizer])}",
        f"learning rate {_each(runs, lambda c: f'{c.training.learning_rate:g}')}",
        f"batch size {_each(runs, lambda c: c.training.batch_size)}",
    ]
    if any(run.config.training.weight_decay for run in runs):
        parts.append(f"weight decay {_each(runs, lambda c: f'{c.training.weight_decay:g}')}")
    if any(run.config.training.scheduler != "none" for run in runs):
        parts.append(f"learning-rate schedule {_each(runs, lambda c: c.training.scheduler)}")
    parts.append(f"loss {_each(runs, lambda c: _LOSSES[loss_name(c.training.loss._target_)] + _weighting(c))}")
    epochs = _epochs([run.status.epoch for run in runs])
    patience = _epochs([run.config.training.early_stopping_patience for run in runs])
    return (
        f"{', '.join(parts)}, for {epochs} (at most {_each(runs, lambda c: c.training.max_epochs)}; early stopping "
        f"after {patience} without improvement in validation {_monitor(runs)}). The epoch with the best value of this "
        f"metric was selected{_seeds(runs)}."
    )


def _epochs(counts: Sequence[int]) -> str:
    """Join distinct counts of epochs with their noun: ``1 epoch``, ``3 or 5 epochs``."""
    text = join_distinct(counts)
    return f"{text} epoch{'' if text == '1' else 's'}"


def _logistic(runs: list[Run]) -> str:
    return (
        f"L2-penalised logistic regression{_each(runs, _weighting)} was fitted on frozen {_data(runs)}. Of the penalties "
        f"C = {_each(runs, lambda c: ', '.join(f'{value:g}' for value in c.model.params.c))}, the one with the best "
        f"validation {_monitor(runs)} was selected."
    )


def _knn(runs: list[Run]) -> str:
    return (
        f"k-nearest-neighbour classification was used on frozen {_data(runs)}. Of k = "
        f"{_each(runs, lambda c: ', '.join(map(str, c.model.params.k)))}, the one with the best validation "
        f"{_monitor(runs)} was selected."
    )


def _zero_shot(runs: list[Run]) -> str:
    return f"Frozen {_data(runs)} were scored against prompt embeddings, without training."


_SENTENCES = {"stepwise": _stepwise, "logistic": _logistic, "knn": _knn, "zero_shot": _zero_shot}


def _head(config: Config) -> str:
    name = head_name(config.model._target_)
    if name != "mlp" or not config.model.params.hidden_dims:
        return "linear"
    widths = "-".join(map(str, config.model.params.hidden_dims))
    return f"MLP with hidden width {widths} and dropout {config.model.params.dropout:g}"


def _weighting(config: Config) -> str:
    weight = config.training.loss.pos_weight
    if weight == "none":
        return ""
    return " with positives weighted by " + ("negatives / positives" if weight in (None, "auto") else "given numbers")


def _data(runs: Sequence[Run]) -> str:
    text = _each(runs, lambda c: f"{_INPUTS[c.model.inputs]} ({encoder_name(c)})")
    if any(run.config.data.standardise != "none" for run in runs):
        text += f" (standardisation: {_each(runs, lambda c: _STANDARDISATION[c.data.standardise])})"
    if any(run.config.data.budget for run in runs):
        text += f" of {_each(runs, _budget)} (training and validation)"
    return text


def _budget(config: Config) -> str:
    return plural(config.data.budget, config.data.budget_unit) if config.data.budget else "all patients"


def _monitor(runs: Sequence[Run]) -> str:
    return _each(
        runs, lambda c: "loss" if c.training.monitor == "loss" else f"macro {METRICS[c.training.monitor].title}"
    )


def _seeds(runs: Sequence[Run]) -> str:
    seeds = list(dict.fromkeys(str(run.config.utils.seed) for run in runs))
    return f" (seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)})"
