"""Write sentences of a Methods paragraph: training and test set, from config, status and ledger alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ctbench_core.config import KEYS, Config, get_key
from ctbench_core.declared import HEADS, LOSSES, OPTIMIZERS, Head, head_of, metric_title
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
_STANDARDISATION = {"none": "none", "zscore": "z-scores", "l2": "unit L2 norm"}
INTERVAL_CONDITION = (
    f"given for findings present in at least {MIN_PATIENTS} patients and absent in at least {MIN_PATIENTS} (for macro "
    f"AUPRC, {MIN_MACRO_AUPRC} in the median finding)"
)


def join_titles(names: Iterable[str]) -> str:
    """Join the titles of metrics: ``AUPRC, AUROC and F1``."""
    titles = list(map(metric_title, names))
    return " and ".join(filter(None, [", ".join(titles[:-1]), *titles[-1:]]))


def set_phrase(runs: Sequence[Run], name: str, n: Mapping[str, int]) -> str:
    """Return a set with its size, a test set by its file name in the ledger: ``the test set ("test.csv"; 2 volumes)``."""
    files = [Path(opening.manifest).name for opening in openings_of(runs, name)]
    title = "the validation set (" if name == VALIDATION else f'the test set ("{files[-1] if files else name}"; '
    volumes, exams, patients = (plural(n[f"{unit}s"], unit) for unit in ("volume", "exam", "patient"))
    return f"{title}{volumes} of {exams} and {patients})"


def training_sentences(runs: Sequence[Run]) -> list[str]:
    """Return how runs were trained, with all values where they differ; nothing for predictions from a table."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.status.kind == "train":
            head = HEADS.resolve(run.config.model._target_)
            groups.setdefault("" if head.stepwise else head.name, []).append(run)
    return [_fitted(HEADS[name], group) if name else _stepwise(group) for name, group in groups.items()]


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
        f"{_each(runs, lambda c: OPTIMIZERS[c.training.optimizer].title)}",
        f"learning rate {_each(runs, lambda c: f'{c.training.learning_rate:g}')}",
        f"batch size {_each(runs, lambda c: c.training.batch_size)}",
    ]
    if any(run.config.training.weight_decay for run in runs):
        parts.append(f"weight decay {_each(runs, lambda c: f'{c.training.weight_decay:g}')}")
    if any(run.config.training.scheduler != "none" for run in runs):
        parts.append(f"learning-rate schedule {_each(runs, lambda c: c.training.scheduler)}")
    parts.append(f"loss {_each(runs, _loss)}")
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


def _fitted(head: Head, runs: list[Run]) -> str:
    values = {
        key.rpartition(".")[2]: join_distinct([_text(run.config, key, ", ") for run in runs]) for key in head.own_keys
    }
    common = {"data": _data(runs), "weighting": _each(runs, _weighting), "monitor": _monitor(runs)}
    return head.phrase.format(**values | common)


def _head(config: Config) -> str:
    head = head_of(config.model)
    settings = _settings(config, head.own_keys)
    return f"{head.phrase} with {' and '.join(settings)}" if settings else head.phrase


def _loss(config: Config) -> str:
    loss = LOSSES.resolve(config.training.loss._target_)
    settings = _settings(config, [f"training.loss.{name}" for name in loss.parameters])
    return loss.phrase + (f" ({', '.join(settings)})" if settings else "") + _weighting(config)


def _settings(config: Config, keys: Iterable[str]) -> list[str]:
    """Return the values of keys behind their labels, without those that are 0 or empty."""
    return [f"{KEYS[key].label.lower()} {_text(config, key, '-')}" for key in keys if get_key(config, key)]


def _text(config: Config, key: str, separator: str) -> str:
    value = get_key(config, key)
    items = value if isinstance(value, list) else [value]
    return separator.join(f"{item:g}" if isinstance(item, (int, float)) else str(item) for item in items)


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
        runs, lambda c: "loss" if c.training.monitor == "loss" else f"macro {metric_title(c.training.monitor)}"
    )


def _seeds(runs: Sequence[Run]) -> str:
    seeds = list(dict.fromkeys(str(run.config.utils.seed) for run in runs))
    return f" (seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)})"
