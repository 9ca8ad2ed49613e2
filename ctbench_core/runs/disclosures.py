"""Build the disclosures that accompany the metrics of a set of volumes, on the screen and in every exported file.

They say how often the test set was evaluated, by the ledger; how many of its patients are also in training or
validation data; where its labels come from; whether text inputs make its scores measure label leakage; and whether
the run was trained further since its evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.config import Config
from ctbench_core.formatting import format_cohort, plural
from ctbench_core.label_leakage import leakage_banner, leakage_note, relevance_note
from ctbench_core.runs.readers import read_json
from ctbench_core.runs.store import Run, RunStore

VALIDATION = "validation"


@dataclass(frozen=True)
class Disclosures:
    """The disclosures of one set, for one run or several.

    Attributes:
        set_name: a test set's name, or ``validation``.
        n: number of volumes, exams and patients.
        openings: evaluations on the set by the runs' jobs, by the ledger; None where it does not apply (validation,
            or predictions that came as a table). runs: how many runs they were.
        no_ledger_reason: why no ledger counts the evaluations on a test set.
        leak_patients: patients also in training or validation data; None where nothing was trained.
        label_origins: manual, report-derived, unknown.
        warning: a phrase where scores measure, or may measure, label leakage, or are not of the best epoch any more;
            banner: the same as sentences.
    """

    set_name: str
    n: dict[str, int] = field(default_factory=dict)
    openings: int | None = None
    runs: int = 0
    no_ledger_reason: str = "predictions from a table, outside the ledger"
    leak_patients: int | None = 0
    label_origins: list[str] = field(default_factory=list)
    warning: str = ""
    banner: str = ""

    def sentences(self) -> list[str]:
        """Return short texts: the set's size, evaluations, label origin, and a leak and a warning where there is one."""
        texts = [f"{self.set_name}: {format_cohort(self.n)}" if self.n else self.set_name]
        if self.openings is not None:
            texts.append(f"evaluated {plural(self.openings, 'time')} by {plural(self.runs, 'run')} of this job")
        elif self.set_name != VALIDATION:
            texts.append(self.no_ledger_reason)
        texts.append(f"label origin: {', '.join(self.label_origins) or 'unknown'}")
        texts += [f"leak: {plural(self.leak_patients, 'patient')}"] if self.leak_patients else []
        return texts + ([self.warning] if self.warning else [])

    def methods(self) -> list[str]:
        """Return the sentences of a Methods paragraph."""
        texts = []
        if self.openings is not None:
            times, runs = plural(self.openings, "time"), plural(self.runs, "run")
            texts.append(f"This test set was evaluated {times} by {runs}, according to the ledger of the run store.")
        elif self.set_name != VALIDATION:
            texts.append(
                "The predictions were read from a table: no ledger counts how often this test set was evaluated."
            )
        if self.leak_patients:
            verb = "was" if self.leak_patients == 1 else "were"
            texts.append(f"{self.leak_patients:,} of its patients {verb} also in the training or validation data.")
        texts += [f"Label origin: {', '.join(self.label_origins)}."] if self.label_origins else []
        return texts + ([self.banner] if self.banner else [])

    def columns(self) -> dict[str, Any]:
        """Return the columns of an exported table."""
        return {
            "test_openings": pd.NA if self.openings is None else self.openings,
            "leak_patients": pd.NA if self.leak_patients is None else self.leak_patients,
            "label_origin": ", ".join(self.label_origins) or "unknown",
            "warning": self.warning,
        }

    def add_to(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a table with the disclosures as its last columns, so that every copied row carries them."""
        return frame.assign(**self.columns())

    def to_json(self) -> dict[str, Any]:
        """Return the content of JSON files."""
        return {
            "openings": self.openings,
            "opened_by_runs": self.runs,
            "leak": {"patients": self.leak_patients},
            "label_origin": list(self.label_origins),
            "warning": self.banner,
        }


def disclosures_of(
    runs: Sequence[Run], set_name: str, leak_patients: int | None = None, n: dict[str, int] | None = None
) -> Disclosures:
    """Return the disclosures of a set for runs that were scored on it.

    Args:
        leak_patients, n: given where the evaluation is not stored yet; by default what is stored with the runs.
    """
    configs = [run.config for run in runs]
    stored = [_stored(run, set_name) for run in runs]
    # During an evaluation, the stored bundle is the one that is being replaced.
    stale = [] if leak_patients is not None else list(filter(None, map(_stale_warning, runs, stored)))
    is_counted = set_name != VALIDATION and any(run.status.kind == "train" for run in runs)
    entries = openings_of(runs, set_name) if is_counted else []
    banners = [*filter(None, map(leakage_banner, configs)), *(f"{text}." for text in stale)]
    return Disclosures(
        set_name=set_name,
        n=n if n is not None else next((facts["n"] for facts in stored if facts.get("n")), {}),
        openings=len(entries) if is_counted else None,
        runs=len({Path(str(entry.get("run", ""))).name for entry in entries}),
        leak_patients=leak_patients
        if leak_patients is not None
        else max((facts["leak_patients"] for facts in stored), default=0),
        label_origins=sorted({config.data.label_origin for config in configs}),
        warning="; ".join(dict.fromkeys([*filter(None, map(leakage_note, configs)), *stale])),
        banner=" ".join(dict.fromkeys(banners)),
    )


def is_stale(evaluated: int | None, best: int | None) -> bool:
    """Whether an evaluation is of another epoch than a run's best one now; False where an epoch is unknown."""
    return None not in (evaluated, best) and evaluated != best


def _stale_warning(run: Run, stored: dict[str, Any]) -> str:
    """Say that a run was trained further since its evaluation; empty where the evaluation is of its best epoch."""
    best, evaluated = run.best().get("epoch"), stored.get("epoch")
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


def openings_of(runs: Sequence[Run], set_name: str) -> list[dict[str, Any]]:
    """Return the ledger's entries of a test set by the runs' jobs."""
    jobs = dict.fromkeys((run.store, run.job) for run in runs)
    entries = [entry for root, job in jobs for entry in RunStore(root).openings(job)]
    return [entry for entry in entries if Path(str(entry.get("manifest", ""))).stem == Path(set_name).stem]


def _stored(run: Run, set_name: str) -> dict[str, Any]:
    """Return size, leak and, of a test set, epoch of an evaluation as stored with a run."""
    if set_name == VALIDATION:
        leaks = (read_json(run.paths.provenance) or {}).get("leaks") or {}
        return {"n": (read_json(run.paths.tuning) or {}).get("n"), "leak_patients": len(leaks.get("val", []))}
    metrics = read_json(run.paths.evaluation(set_name).metrics) or {}
    leak_patients = int((metrics.get("leak") or {}).get("patients", 0))
    return {"n": metrics.get("n"), "leak_patients": leak_patients, "epoch": metrics.get("best_epoch")}
