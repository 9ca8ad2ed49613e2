"""Build the disclosures that accompany the metrics of a set of volumes, on the screen and in every exported file.

They say how often the test set was evaluated in the run store, by its ledger; how many of its patients are also in
training or validation data; where its labels come from; whether text inputs make its scores measure label leakage;
whether the run was trained further since its evaluation; and what else was wrong with the evaluation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ctbench_core.config import Config
from ctbench_core.declared import TRUTHS
from ctbench_core.formatting import format_cohort, format_pairs, ordinal, plural
from ctbench_core.label_leakage import leakage_banner, leakage_note, relevance_note
from ctbench_core.runs.convergence import convergence
from ctbench_core.runs.identity import set_id_of
from ctbench_core.runs.layout import VALIDATION
from ctbench_core.runs.ledger import Ledger, Opening, OpeningCount
from ctbench_core.runs.provenance import read_provenance
from ctbench_core.runs.results import Metrics, read_metrics
from ctbench_core.runs.store import Run
from ctbench_core.runs.tuning import read_tuning

NO_LEDGER = "predictions from a table, outside the ledger"
UNKNOWN = "number of evaluations unknown"


@dataclass(frozen=True)
class Disclosures:
    """The disclosures of one set, for one run or several.

    Attributes:
        set_name: a test set's name, or ``validation``.
        n: number of volumes, exams and patients.
        test_set: the identity of the set, a digest of its volumes, findings and labels; None where it is unknown.
        openings: evaluations on the set in the run store, by its ledger; None where it does not apply (validation,
            or predictions that came as a table) or the ledger is damaged. runs: how many runs they were. unknown_openings: evaluations on sets
            of the same name that the ledger holds without an identity.
        no_ledger_reason: why no ledger counts the evaluations on a test set.
        leak_patients: patients also in training or validation data; None where nothing was trained.
        label_origins: manual, report-derived, unknown.
        unknown_patients: number of volumes whose patient is unknown, each taken for a patient of its own.
        warning: a phrase where scores measure, or may measure, label leakage, or are not of the best epoch any more;
            banner: the same as sentences.
        warnings: sentences about the evaluation: inputs that changed since training, patients unknown, labels mapped,
            a probe that has not converged.
    """

    set_name: str
    n: dict[str, int] = field(default_factory=dict)
    test_set: str | None = None
    openings: int | None = None
    runs: int = 0
    unknown_openings: int = 0
    no_ledger_reason: str = NO_LEDGER
    leak_patients: int | None = 0
    label_origins: list[str] = field(default_factory=list)
    unknown_patients: int = 0
    warning: str = ""
    banner: str = ""
    warnings: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """Return short texts: those of `facts`, and the warnings."""
        return self.facts() + [text for text in (self.warning, *self.warnings) if text]

    def facts(self, of_run: str = "") -> list[str]:
        """Return short texts: the set's size, evaluations, label origin, and a leak where there is one.

        Args:
            of_run: what is said of one run's own evaluations, as `evaluations_of` does.
        """
        texts = [f"{self.set_name}: {format_cohort(self.n)}" if self.n else self.set_name]
        if self.openings is not None:
            times, runs = plural(self.openings, "time"), plural(self.runs, "run")
            texts.append(f"evaluated {times} by {runs} of this run store{of_run}" + self._unknown(" (", ")"))
        elif self.set_name != VALIDATION:
            texts.append(self.no_ledger_reason)
        texts.append(f"label origin: {', '.join(self.label_origins) or 'unknown'}")
        return texts + ([f"leak: {plural(self.leak_patients, 'patient')}"] if self.leak_patients else [])

    def _unknown(self, before: str, after: str) -> str:
        """Say how often unknown sets of this name were evaluated; empty if never."""
        if not self.unknown_openings:
            return ""
        return f"{before}{plural(self.unknown_openings, 'evaluation')} of unknown sets named {self.set_name}{after}"

    def methods(self) -> list[str]:
        """Return the sentences of a Methods paragraph."""
        texts = []
        if self.openings is not None:
            times, runs = plural(self.openings, "time"), plural(self.runs, "run")
            texts.append(
                f"This test set was evaluated {times} by {runs}, according to the ledger of the run store"
                f"{self._unknown('; it also holds ', '')}."
            )
        elif self.set_name != VALIDATION and self.no_ledger_reason == NO_LEDGER:
            texts.append(
                "The predictions were read from a table: no ledger counts how often this test set was evaluated."
            )
        if self.leak_patients:
            verb = "was" if self.leak_patients == 1 else "were"
            texts.append(f"{self.leak_patients:,} of its patients {verb} also in the training or validation data.")
        texts += [f"Label origin: {', '.join(self.label_origins)}."] if self.label_origins else []
        return texts + [text for text in (self.banner, *self.warnings) if text]

    def columns(self) -> dict[str, Any]:
        """Return the columns of an exported table."""
        return {
            "test_openings": pd.NA if self.openings is None else self.openings,
            "leak_patients": pd.NA if self.leak_patients is None else self.leak_patients,
            "label_origin": ", ".join(self.label_origins) or "unknown",
            "warning": "; ".join(filter(None, [self.warning, *(text.rstrip(".") for text in self.warnings)])),
        }

    def add_to(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a table with the disclosures as its last columns, so that every copied row carries them."""
        return frame.assign(**self.columns())

    def to_json(self) -> dict[str, Any]:
        """Return the content of JSON files."""
        return {
            "test_set": {"id": self.test_set, "name": self.set_name},
            "openings": self.openings,
            "opened_by_runs": self.runs,
            "unknown_openings": self.unknown_openings,
            "leak": {"patients": self.leak_patients},
            "label_origin": list(self.label_origins),
            "warning": self.banner,
            "warnings": list(self.warnings),
            "unknown_patients": self.unknown_patients,
        }


def disclosures_of(
    runs: Sequence[Run],
    set_name: str,
    leak_patients: int | None = None,
    n: dict[str, int] | None = None,
    opening: tuple[str, OpeningCount] | None = None,
    warnings: Sequence[str] | None = None,
    unknown_patients: int | None = None,
    set_names: Sequence[str] | None = None,
    label_origin: str | None = None,
) -> Disclosures:
    """Return the disclosures of a set for runs that were scored on it.

    Args:
        leak_patients, n: given where the evaluation is not stored yet; by default what is stored with the runs.
        opening: the identity of the test set that is being evaluated, and the count up to and with this evaluation.
        warnings, unknown_patients: of this evaluation; by default what is stored with the runs.
        set_names: the set's name in each run, where its file is named differently; by default ``set_name``.
        label_origin: of this evaluation; by default what is stored with it for a set of another data set, else the run's.
    """
    configs = [run.config for run in runs]
    set_names = set_names or [set_name] * len(runs)
    stored = [_stored(run, name) for run, name in zip(runs, set_names)]
    # During an evaluation, the stored bundle is the one that is being replaced.
    stale = [] if leak_patients is not None else list(filter(None, map(_stale_warning, runs, stored)))
    is_counted = set_name != VALIDATION and any(run.status.kind == "train" for run in runs)
    test_sets = [opening[0]] if opening else _set_ids(runs, set_names)
    count = opening[1] if opening else _count(runs, test_sets, set_name) if is_counted else OpeningCount()
    banners = [*filter(None, map(leakage_banner, configs)), *(f"{text}." for text in stale)]
    return Disclosures(
        set_name=set_name,
        n=n if n is not None else next((dict(facts.n) for facts in stored if facts.n), {}),
        test_set=test_sets[0] if len(test_sets) == 1 else None,
        openings=count.openings if is_counted and not count.damage else None,
        runs=count.runs,
        unknown_openings=count.unknown,
        no_ledger_reason=UNKNOWN if count.damage else NO_LEDGER,
        leak_patients=leak_patients
        if leak_patients is not None
        else max((facts.leak_patients or 0 for facts in stored), default=0),
        label_origins=[label_origin] if label_origin else _label_origins(configs, stored),
        unknown_patients=unknown_patients
        if unknown_patients is not None
        else max((facts.unknown_patients for facts in stored), default=0),
        warning="; ".join(dict.fromkeys([*filter(None, map(leakage_note, configs)), *stale])),
        banner=" ".join(dict.fromkeys(banners)),
        warnings=_warnings(
            runs,
            [
                *filter(None, [count.damage]),
                *([text for facts in stored for text in facts.warnings] if warnings is None else warnings),
            ],
        ),
    )


def _label_origins(configs: Sequence[Config], stored: Sequence[Metrics]) -> list[str]:
    origins = (
        facts.label_origin if facts.external else (config.data.label_origin,) for config, facts in zip(configs, stored)
    )
    return sorted({origin for own in origins for origin in own})


def _warnings(runs: Sequence[Run], others: Sequence[str]) -> list[str]:
    """Return warnings, with those of runs that have not converged, each once."""
    records = filter(None, map(convergence, runs))
    return list(dict.fromkeys([*others, *(record.sentence() for record in records if record.mark)]))


def _set_ids(runs: Sequence[Run], set_names: Sequence[str]) -> list[str]:
    """Return the distinct identities of the sets that runs were scored on, where they are known."""
    return list(dict.fromkeys(filter(None, (set_id_of(run, name) for run, name in zip(runs, set_names)))))


def _count(runs: Sequence[Run], test_sets: Sequence[str], set_name: str) -> OpeningCount:
    """Count the evaluations on test sets in the run store of the runs, or in their stores."""
    counts = [Ledger(root).count(test_sets, set_name) for root in dict.fromkeys(run.store for run in runs)]
    openings, runs, unknown, damage = zip(*map(dataclasses.astuple, counts))
    return OpeningCount(sum(openings), sum(runs), sum(unknown), " ".join(filter(None, damage)))


def is_stale(evaluated: int | None, best: int | None) -> bool:
    """Whether an evaluation is of another epoch than a run's best one now; False where an epoch is unknown."""
    return None not in (evaluated, best) and evaluated != best


def _stale_warning(run: Run, stored: Metrics) -> str:
    """Say that a run was trained further since its evaluation; empty where the evaluation is of its best epoch."""
    best, evaluated = run.best().get("epoch"), stored.best_epoch
    if not is_stale(evaluated, best):
        return ""
    return f"{run.run_id}: metrics of epoch {evaluated:,}; trained further since, the best epoch is now {best:,}"


def alignment_disclosures(config: Config, set_name: str, n: dict[str, int], by_label: bool) -> Disclosures:
    """Return the disclosures of an alignment result.

    Alignment trains nothing, so the ledger does not count it and no patient can leak: both stay empty, not 0. What
    applies is where the labels come from and, where hits are judged by label (``by_label``), that report-derived
    labels were read from the very texts that are searched.
    """
    return Disclosures(
        set_name=set_name,
        n=n,
        no_ledger_reason="alignment trains nothing: not in the ledger",
        leak_patients=None,
        label_origins=[config.data.label_origin],
        warning=relevance_note(config) if by_label else "",
    )


def stored_alignment_disclosures(config: Config, name: str, metrics: Mapping[str, Any]) -> Disclosures:
    """Return the disclosures of a stored alignment result from its config and metrics."""
    by_label = TRUTHS[config.analysis.truth].needs_labels or any(
        key.startswith(("semantic_", "graded_")) for key in metrics
    )
    # Bare arrays have neither exams nor patients.
    return alignment_disclosures(config, name, metrics.get("n", {}), by_label)


def alignment_size(config: Config, metrics: Mapping[str, Any]) -> str:
    """Write what an alignment compares: ``741 pairs, normal ones excluded``."""
    return format_pairs(metrics) + (", normal ones excluded" if config.analysis.filter_normal_cases else "")


def alignment_sentences(config: Config, name: str, metrics: Mapping[str, Any]) -> list[str]:
    """Return short texts of a stored alignment result: what it compares, its set's size, where labels come from."""
    return [alignment_size(config, metrics), *stored_alignment_disclosures(config, name, metrics).sentences()]


def openings_of(runs: Sequence[Run], set_name: str) -> list[Opening]:
    """Return the ledger's entries of the runs' test set, those of unknown sets of its name first."""
    ledgers = [Ledger(root) for root in dict.fromkeys(run.store for run in runs)]
    ids = _set_ids(runs, [set_name] * len(runs))
    return [one for ledger in ledgers for one in [*ledger.unknown_openings(set_name), *ledger.openings_of(ids)]]


def _stored(run: Run, set_name: str) -> Metrics:
    """Return METRICS of a test set as stored with a run; of validation, its size and leak."""
    if set_name == VALIDATION:
        n = (read_tuning(run.paths.tuning) or {}).get("n") or {}
        return Metrics({}, {}, n=n, leak_patients=len(read_provenance(run.paths).leaks.get("val", [])))
    return read_metrics(run.paths.evaluation(set_name).metrics) or Metrics({}, {})


def evaluations_of(run: Run, name: str) -> str:
    """Say which of several runs evaluated on a test set a run is, and how often it was; empty for a lone run."""
    runs = [opening.run_id for opening in openings_of([run], name) if opening.test_set is not None]
    if run.run_id not in runs or len(set(runs)) == 1:
        return ""
    place, times = list(dict.fromkeys(runs)).index(run.run_id) + 1, runs.count(run.run_id)
    return f"; this is the {ordinal(place)} run" + (f", evaluated {times} times" if times > 1 else "")
