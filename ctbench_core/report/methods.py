"""Write sentences of a Methods paragraph: training, test set, and the rules of intervals.

They use config, status, ledger and results alone; a sentence whose subject does not apply is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from ctbench_core.config import KEYS, Config, get_key
from ctbench_core.declared import HEADS, LOSSES, METRICS, OPTIMIZERS, Head, head_of, metric_title
from ctbench_core.formatting import format_metric, plural
from ctbench_core.inference import MARK_NEAR_END, MIN_PATIENTS, NEAR_END, RESAMPLES
from ctbench_core.label_leakage import encoder_name
from ctbench_core.runs import VALIDATION, Run, openings_of, read_provenance

_INPUTS = {
    "visual": "visual embeddings",
    "text": "report embeddings",
    "concat": "concatenated visual and report embeddings",
    "gated": "visual and report embeddings joined by a learned gate",
}
_DRAWS = {"random": "drawn at random", "covering": "drawn so that each finding appears"}
_STANDARDISATION = {"none": "none", "zscore": "z-scores", "l2": "unit L2 norm"}
_TOO_NARROW = ", so that intervals are too narrow where some belong together"
INTERVAL_CONDITION = (
    f"given for findings present in at least {MIN_PATIENTS} patients and absent in at least {MIN_PATIENTS}"
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


def interval_sentences(
    metrics: Sequence[str],
    eligible: Sequence[str],
    findings: int,
    marks: Iterable[str],
    n: Mapping[str, int],
    unknown_patients: int,
) -> list[str]:
    """Return how the intervals of metrics were computed: the unit, the rules, and where there are none.

    Args:
        eligible: the findings with enough patients of each class. findings: the number of all.
        marks: those of the printed intervals. n: volumes and patients.
        unknown_patients: volumes whose patient is unknown.
    """
    if not eligible:
        return [
            f"No finding is present in {MIN_PATIENTS} patients and absent in {MIN_PATIENTS}: no intervals are given."
        ]
    return [
        unit_sentence(n["volumes"], unknown_patients),
        f"Intervals (95%) are {INTERVAL_CONDITION}.",
        *_rules(metrics),
        *macro_sentences(eligible, findings),
        *_marks(set(marks)),
    ]


def exact_sentence(values: Iterable[tuple[str, float]]) -> list[str]:
    """Return how metrics of exactly 0 or 1 that have an interval got it, from their names and values; AUROC has a rule near 1."""
    rules = {name: one.interval for name, one in METRICS.items()}
    if not any(value in (0.0, 1.0) and rules.get(name) != "obuchowski" for name, value in values):
        return []
    return [
        "A value of exactly 0 or 1 has the binomial bound of Clopper and Pearson (1934) for the effective number of "
        "patients (Kish 1965)."
    ]


def unit_sentence(volumes: int, unknown: int) -> str:
    """Return what metrics and errors are over, and of how many volumes the patient is unknown."""
    if not unknown:
        return (
            "Metrics are over volumes, so that patients with more volumes weigh more. Standard errors take patients for "
            "independent, and the volumes of a patient for dependent."
        )
    if unknown >= volumes:
        return f"Patients are unknown: each volume was taken for a patient of its own{_TOO_NARROW}."
    return (
        f"{unit_sentence(volumes, 0)} The patients of {plural(unknown, 'volume')} are unknown: each was taken for a patient of "
        f"its own{_TOO_NARROW}."
    )


def _rules(metrics: Sequence[str]) -> list[str]:
    known = [METRICS[name] for name in metrics if name in METRICS]
    clustered, left_out, drawn = (
        [one.name for one in known if one.interval == rule] for rule in ("obuchowski", "jackknife", "bootstrap")
    )
    own = [one.name for one in known if one.interval and one.denominator != "scarcer"]
    estimated = [one.name for one in known if one.interval and one.kind != "thresholded"]
    texts = [
        "They were computed on the logit scale and transformed back, with t of m - 1 degrees of freedom, m the effective patients "
        "(Kish 1965) of the scarcer class, for a macro mean those of its scarcest finding."
    ]
    if own:
        texts.append(
            f"For {join_titles(own)}, m is the effective patients with a volume in the denominator; of patients there are at least "
            f"{MIN_PATIENTS}."
        )
    if estimated:
        texts.append(
            f"For {join_titles(estimated)}, the degrees of freedom are no more than those of the variance estimate (Hinkley 1977)."
        )
    if clustered:
        texts.append(
            f"The standard error of {join_titles(clustered)} is that of Obuchowski (1997) for clustered data, and of its macro mean that of "
            "the same placements, averaged by patient."
        )
    for names, source in (
        (left_out, "leaving out one patient at a time (Efron and Stein 1981)"),
        (drawn, f"{RESAMPLES:,} bootstrap resamples of patients"),
    ):
        if names:
            texts.append(f"Standard errors of {join_titles(names)} and of macro means come from {source}.")
    if biased := [one.name for one in known if one.biased]:
        texts.append(
            f"The interval of macro {join_titles(biased)} is centred at its value less the jackknife's estimate of its bias (Quenouille "
            "1956), and wide enough to contain the value."
        )
    return texts


def macro_sentences(eligible: Sequence[str], findings: int) -> list[str]:
    """Return which macro mean has an interval, where some findings have none; else nothing."""
    if len(eligible) == findings:
        return []
    return [
        f"A macro mean has an interval only where each of its findings has one; beside it is the mean over the "
        f"{plural(len(eligible), 'eligible finding')} ({', '.join(eligible)}), with its interval."
    ]


def _marks(marks: Iterable[str]) -> list[str]:
    parts = set("; ".join(marks).split("; "))
    texts = []
    if MARK_NEAR_END in parts:
        texts.append(
            f"Where an AUROC lies near 1 or 0 (fewer than {NEAR_END} patients of the scarcer class are expected on the wrong "
            "side), the interval also contains a score interval with the variance of Newcombe's method 5 (2006) in effective "
            "patients, and is marked."
        )
    if few := next((part for part in parts if part.startswith("few patients")), ""):
        texts.append(f"{few[:1].upper()}{few[1:]}, so that intervals are less certain.")
    return texts


def limits_sentence(label_origins: Sequence[str], has_thresholds: bool = False) -> str:
    """Return what intervals leave out: label errors unless labels are manual, other sites, encoders, and thresholds."""
    parts = [] if list(label_origins) == ["manual"] else ["errors of the labels"]
    parts += ["other sites", "the choice of the encoder", "the choice of epochs and settings"]
    parts += ["the choice of thresholds and the calibration"] if has_thresholds else []
    return f"Intervals leave out {', '.join(parts[:-1])} and {parts[-1]}."


def training_sentences(runs: Sequence[Run]) -> list[str]:
    """Return how runs were trained, with all values where they differ; nothing for predictions from a table."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.status.kind == "train":
            head = HEADS.resolve(run.config.model._target_)
            groups.setdefault("" if head.stepwise else head.name, []).append(run)
    sentences = [_fitted(HEADS[name], group) if name else _stepwise(group) for name, group in groups.items()]
    return [*sentences, *_covering_sentences([run for group in groups.values() for run in group])]


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
    if any(run.config.training.shuffle == "blocks" for run in runs):
        parts.append("rows shuffled within pools of 65,536 neighbouring rows, the pools in random order")
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
    if any(run.config.data.per_finding for run in runs):
        text += ", one probe per finding on features of its own"
    if any(run.config.data.standardise != "none" for run in runs):
        text += f" (standardisation: {_each(runs, lambda c: _STANDARDISATION[c.data.standardise])})"
    if any(run.config.data.budget for run in runs):
        text += f" of {_each(runs, _budget)} (training and validation{_draw(runs)})"
    return text


def _draw(runs: Sequence[Run]) -> str:
    """Say how label budgets were drawn, where no file names their volumes."""
    drawn = [run for run in runs if run.config.data.budget and run.config.data.selection is None]
    return f"; {_each(drawn, lambda c: _DRAWS[c.data.budget_draw])}" if drawn else ""


def _covering_sentences(runs: Sequence[Run]) -> list[str]:
    """Return the training prevalence that draws made which bring findings forward; nothing for random draws."""
    drawn = [
        one for run in runs if _is_covering(run.config) and (one := read_provenance(run.paths).prevalence.get("train"))
    ]
    if not drawn:
        return []
    shares = {
        name: [share for one in drawn if (share := one.get(name)) is not None] for name in dict.fromkeys(chain(*drawn))
    }
    listed = ", ".join(f"{name} {_span(values)}" for name, values in shares.items() if values)
    return [f"These draws shift prevalence; in the training data it was: {listed}."]


def _is_covering(config: Config) -> bool:
    data = config.data
    return data.budget is not None and data.selection is None and data.budget_draw == "covering"


def _span(values: Sequence[float]) -> str:
    ends = list(dict.fromkeys(map(format_metric, (min(values), max(values)))))
    return " to ".join(ends)


def _budget(config: Config) -> str:
    return plural(config.data.budget, config.data.budget_unit) if config.data.budget else "all patients"


def _monitor(runs: Sequence[Run]) -> str:
    return _each(
        runs, lambda c: "loss" if c.training.monitor == "loss" else f"macro {metric_title(c.training.monitor)}"
    )


def _seeds(runs: Sequence[Run]) -> str:
    seeds = list(dict.fromkeys(str(run.config.utils.seed) for run in runs))
    return f" (seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)})"
