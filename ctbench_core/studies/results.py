"""Collect the metrics of a study's finished runs in one long table, and the disclosures that go with them.

Rows: run, set (validation, training, or a test manifest's name without suffix), finding (empty for the macro mean),
metric, value; the metric `LEAKED` counts the patients of a set who are also in training or validation data. The table
on disk is a cache: a run is read once, when it is first seen finished.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.config import Config
from ctbench_core.declared import brief_metrics, interval_keys, metrics_of
from ctbench_core.errors import DamagedFile
from ctbench_core.label_leakage import leakage_banner, leakage_note
from ctbench_core.locks import file_lock
from ctbench_core.runs import (
    NO_LEDGER,
    UNKNOWN,
    VALIDATION,
    Disclosures,
    Ledger,
    Metrics,
    OpeningCount,
    RunPaths,
    read_best,
    read_frame,
    read_metrics,
    read_provenance,
    write_parquet,
)
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan
from ctbench_core.studies.status import run_state
from ctbench_core.tables import write_sheet

COLUMNS = ("run", "set", "finding", "metric", "value")
TRAINING = "training"
OUT_OF_FOLD = "out of fold"
FOLD = "fold_"
UNITS = ("patients", "exams", "volumes")  # of training and validation rows together, as a budget counts them
LEAKED = "leak_patients"
DECIMALS = 6


def read_results(paths: StudyPaths, plan: Plan) -> pd.DataFrame:
    """Return the long table of the finished runs of a plan, brought up to date."""
    planned = [run.id for run in plan.runs]
    with file_lock(paths.results.with_suffix(".lock")):
        results = read_cache(paths.results, COLUMNS)
        if LEAKED not in set(results["metric"]):  # written before leaks were stored: rebuilt
            results = results.iloc[:0]
        known = set(results["run"])
        fresh = [name for name in planned if name not in known and run_state(paths.run(name)) == "finished"]
        if fresh:
            rows = [row for name in fresh for row in _rows(paths.run(name))]
            parts = [results] if len(results) else []
            results = pd.concat([*parts, pd.DataFrame(rows, columns=list(COLUMNS))], ignore_index=True)
            results["value"] = results["value"].astype(float)
            write_cache(paths.results, results)
    return results[results["run"].isin(planned)].reset_index(drop=True)


def read_cache(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table that can be computed again: empty where it is missing, damaged, or of a release with other columns."""
    try:
        frame: pd.DataFrame = read_frame(path)
    except DamagedFile:
        return pd.DataFrame(columns=list(columns))
    return frame if set(columns) <= set(frame) else pd.DataFrame(columns=list(columns))


def write_cache(path: Path, frame: pd.DataFrame) -> None:
    """Write a table that can be computed again, where the system lets it be written."""
    with contextlib.suppress(OSError):
        write_parquet(path, frame)


def _rows(run_dir: Path) -> Iterator[tuple[str, str, str, str, Any]]:
    files = RunPaths(run_dir)
    origin = read_provenance(files)
    for unit in UNITS:
        yield run_dir.name, TRAINING, "", unit, origin.count(unit, "train", "val") or 0
    validation = read_best(files).get("val_metrics", {})
    sets = {VALIDATION: Metrics.from_json(validation | {"leak": {"patients": len(origin.leaks.get("val", []))}})}
    for path in sorted((run_dir / "evaluation").glob("*/metrics.json")):
        if metrics := read_metrics(path):
            sets[path.parent.name] = metrics
    brief = [metric.name for metric in (*brief_metrics(), *metrics_of("count"))]
    names = list(dict.fromkeys([*interval_keys(), *brief]))
    for name, metrics in sets.items():
        yield run_dir.name, name, "", LEAKED, metrics.leak_patients
        for key, value in metrics.macro_values.items():  # validation has no tuned threshold of its own
            yield run_dir.name, name, "", key, value
        for finding, one in metrics.findings.items():
            for key in (key for key in names if key in one.values):
                yield run_dir.name, name, finding, key, one.value(key)


def comparison_set(results: pd.DataFrame) -> str:
    """Return the set that recipes are compared on: the out-of-fold rows, the first test set, else validation."""
    tests = _test_sets(results)
    if any(name.startswith(FOLD) for name in tests):
        return OUT_OF_FOLD
    return tests[0] if tests else VALIDATION


def _test_sets(results: pd.DataFrame) -> list[str]:
    return sorted(set(results["set"]) - {VALIDATION, TRAINING})


def rows_of_set(results: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of a set that `comparison_set` names; for out of fold, those of every fold."""
    return results[results["set"].str.startswith(FOLD) if name == OUT_OF_FOLD else results["set"] == name]


def study_disclosures(paths: StudyPaths, results: pd.DataFrame, configs: Sequence[Config]) -> Disclosures:
    """Return the disclosures of a study.

    Evaluations are counted over the run store: a study of 1,000 runs evaluated its test set 1,000 times, and other
    runs may have before. Of several test sets, or the folds of a K-fold, the one evaluated most often counts; without a test set there is no count. The leak is the largest of any run and set; label origins
    are the distinct ones; one run that reads text brings its warning. Only the ledger is read, no run.

    Args:
        results: as `read_results` returns them.
        configs: of the finished runs.
    """
    tests = _test_sets(results)
    ledger = Ledger(paths.root.parent)
    test_sets: dict[str, set[str]] = defaultdict(set)
    for opening in ledger.openings():
        if opening.job == paths.root.name and opening.test_set is not None:
            test_sets[opening.set_name].add(opening.test_set)
    counts = [ledger.count(test_sets[Path(name).stem], name) for name in tests]
    most = max(counts, key=lambda count: (count.openings, count.unknown), default=OpeningCount())
    return Disclosures(
        set_name=comparison_set(results),
        openings=most.openings if tests and not most.damage else None,
        runs=most.runs,
        no_ledger_reason=UNKNOWN if most.damage else NO_LEDGER,
        warnings=list(filter(None, [most.damage])),
        unknown_openings=most.unknown,
        leak_patients=int(results.loc[results["metric"] == LEAKED, "value"].max()) if len(results) else 0,
        label_origins=sorted({config.data.label_origin for config in configs}),
        warning="; ".join(dict.fromkeys(filter(None, map(leakage_note, configs)))),
        banner=" ".join(dict.fromkeys(filter(None, map(leakage_banner, configs)))),
    )


def run_table(plan: Plan, results: pd.DataFrame) -> pd.DataFrame:
    """Return one row a finished run, in the order of the plan: its labels, its training counts, its macro metrics."""
    macros = results[(results["finding"] == "") & (results["metric"] != LEAKED)]
    names = macros["set"].where(macros["set"] != TRAINING, "n") + "_" + macros["metric"]
    wide = macros.assign(name=names).pivot(index="run", columns="name", values="value")
    counts = [f"n_{unit}" for unit in UNITS]
    wide = wide[[*counts, *(name for name in sorted(wide, key=_column_order) if name not in counts)]]
    wide[counts] = wide[counts].astype(int)
    wide.columns.name = None
    rows = [{"run": run.id, **run.labels, "bank": run.bank, "extension": run.extension} for run in plan.runs]
    return pd.DataFrame(rows).join(wide, on="run", how="inner").reset_index(drop=True)


def _column_order(name: str) -> tuple[bool, str, int]:
    """Sort validation first, then test by test, in the order of the macros."""
    keys = list(interval_keys().values())
    ends = [key for key in keys if name.endswith(f"_{key}")]
    key = max(ends, key=len, default="")
    return not name.startswith(VALIDATION), name.removesuffix(key), keys.index(key) if key else -1


def write_table(paths: StudyPaths, plan: Plan, results: pd.DataFrame) -> Path:
    """Write the table of runs as CSV, six decimals and no times, and return its path."""
    write_sheet(paths.table, run_table(plan, results), DECIMALS)
    return paths.table
