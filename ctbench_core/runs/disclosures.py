"""What stands beside every figure of a set of volumes, and in every file that leaves the store.

How often the test set was opened, by the ledger; how many of its patients also stand in training or validation data;
where its labels come from; whether text inputs make its scores measure label leakage; and whether the run was trained
on since the test set was opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.config import Config
from ctbench_core.label_leakage import leakage_banner, leakage_mark, relevance_mark
from ctbench_core.runs.store import Run, RunStore, read_json

VALIDATION = "validation"


@dataclass(frozen=True)
class Disclosures:
    """The marks of one set, for one run or several.

    Attributes:
        on: the set: a test set's name, or ``validation``.
        n: volumes, exams, patients.
        openings: how often the runs' jobs opened the set, by the ledger; None where it does not apply (validation, or
            predictions that came as a table). runs: how many runs did.
        uncounted: why no ledger counts openings, in words, where that is so of a test set.
        leaked: patients who also stand in training or validation data; None where nothing was trained.
        label_origins: manual, report-derived, unknown.
        warning: a few words where scores measure, or may measure, label leakage, or are of an epoch that is no longer
            the best; banner: the same as sentences.
    """

    on: str
    n: dict[str, int] = field(default_factory=dict)
    openings: int | None = None
    runs: int = 0
    uncounted: str = "predictions from a table, outside the ledger"
    leaked: int | None = 0
    label_origins: list[str] = field(default_factory=list)
    warning: str = ""
    banner: str = ""

    def sentences(self) -> list[str]:
        """Return the marks in words: the set's size, openings, label origin, and, where there is one, leak and banner."""
        size = " / ".join(f"{self.n[name]:,} {name}" for name in ("volumes", "exams", "patients") if name in self.n)
        found = [f"{self.on}: {size}" if size else self.on]
        if self.openings is not None:
            found.append(f"opened {_count(self.openings, 'time')} by {_count(self.runs, 'run')} of this job")
        elif self.on != VALIDATION:
            found.append(self.uncounted)
        found.append(f"label origin: {', '.join(self.label_origins) or 'unknown'}")
        found += [f"leak: {_count(self.leaked, 'patient')}"] if self.leaked else []
        return found + ([self.warning] if self.warning else [])

    def methods(self) -> list[str]:
        """Return the marks as sentences of a Methods paragraph."""
        found = []
        if self.openings is not None:
            by = _count(self.runs, "run")
            found.append(
                f"The ledger of the run store counts {_count(self.openings, 'opening')} of this test set by {by}."
            )
        elif self.on != VALIDATION:
            found.append("The predictions came as a table: no ledger counts how often this test set was opened.")
        if self.leaked:
            found.append(f"{_count(self.leaked, 'patient')} of it also stood in the training or validation data.")
        found += [f"Label origin: {', '.join(self.label_origins)}."] if self.label_origins else []
        return found + ([self.banner] if self.banner else [])

    def columns(self) -> dict[str, Any]:
        """Return the marks as columns of an exported table."""
        return {
            "test_openings": pd.NA if self.openings is None else self.openings,
            "leak_patients": pd.NA if self.leaked is None else self.leaked,
            "label_origin": ", ".join(self.label_origins) or "unknown",
            "warning": self.warning,
        }

    def add_to(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a table with the marks as its last columns: every row carries them wherever it is copied."""
        return frame.assign(**self.columns())

    def to_json(self) -> dict[str, Any]:
        """Return the marks for JSON files."""
        return {
            "openings": self.openings,
            "opened_by_runs": self.runs,
            "leak": {"patients": self.leaked},
            "label_origin": list(self.label_origins),
            "warning": self.banner,
        }


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def disclosures_of(
    runs: Sequence[Run], on: str, leaked: int | None = None, n: dict[str, int] | None = None
) -> Disclosures:
    """Return the marks of a set for runs that were scored on it.

    Args:
        leaked, n: given where the evaluation is not stored yet; by default what is stored with the runs.
    """
    configs = [run.config for run in runs]
    stored = [_stored(run, on) for run in runs]
    # While a test is opened again, what is stored is the bundle that is being replaced.
    stale = [] if leaked is not None else list(filter(None, map(_stale, runs, stored)))
    counted = on != VALIDATION and any(run.status.kind == "train" for run in runs)
    entries = openings_of(runs, on) if counted else []
    return Disclosures(
        on=on,
        n=n if n is not None else next((one["n"] for one in stored if one.get("n")), {}),
        openings=len(entries) if counted else None,
        runs=len({Path(str(entry.get("run", ""))).name for entry in entries}),
        leaked=leaked if leaked is not None else max((one["leaked"] for one in stored), default=0),
        label_origins=sorted({config.data.label_origin for config in configs}),
        warning="; ".join(dict.fromkeys([*filter(None, map(leakage_mark, configs)), *stale])),
        banner=" ".join(dict.fromkeys([*filter(None, map(leakage_banner, configs)), *(f"{one}." for one in stale)])),
    )


def is_stale(judged: int | None, best: int | None) -> bool:
    """Whether figures are of another epoch than a run's best one now; those that hold no epoch cannot be called so."""
    return None not in (judged, best) and judged != best


def _stale(run: Run, stored: dict[str, Any]) -> str:
    """Say that a run was trained on since a test set was opened; empty where its figures are of its best epoch."""
    best, judged = run.best().get("epoch"), stored.get("epoch")
    if not is_stale(judged, best):
        return ""
    return f"{run.run_id}: figures of epoch {judged:,}, trained on since to a best epoch {best:,}"


def alignment_disclosures(config: Config, on: str, n: dict[str, int], by_label: bool) -> Disclosures:
    """Return the marks of an alignment result.

    It trains nothing, so the ledger does not count it and no patient can leak: both stay empty, not 0. What applies
    is where the labels come from and, where hits are judged by label (``by_label``), that report-derived labels were
    read from the very texts that are searched.
    """
    return Disclosures(
        on=on,
        n=n,
        uncounted="alignment trains nothing: not in the ledger",
        leaked=None,
        label_origins=[config.data.label_origin],
        warning=relevance_mark(config) if by_label else "",
    )


def openings_of(runs: Sequence[Run], on: str) -> list[dict[str, Any]]:
    """Return the ledger's entries of a test set by the runs' jobs."""
    stores = dict.fromkeys((run.store, run.job) for run in runs)
    entries = [entry for root, job in stores for entry in RunStore(root).openings(job)]
    return [entry for entry in entries if Path(str(entry.get("manifest", ""))).stem == Path(on).stem]


def _stored(run: Run, on: str) -> dict[str, Any]:
    """Return size and leak of a set as a run keeps them: of a test in its bundle, with its epoch; else with its tuning."""
    if on == VALIDATION:
        leaks = (read_json(run.paths.provenance) or {}).get("leaks") or {}
        return {"n": (read_json(run.paths.tuning) or {}).get("n"), "leaked": len(leaks.get("val", []))}
    metrics = read_json(run.paths.evaluation(on).metrics) or {}
    leaked = int((metrics.get("leak") or {}).get("patients", 0))
    return {"n": metrics.get("n"), "leaked": leaked, "epoch": metrics.get("best_epoch")}
