"""Collect the metrics of a study's finished runs in one long table, and the disclosures that go with them.

Rows: run, set (validation, training, or a test manifest's name without suffix), finding (empty for the macro mean),
metric, value; the metric `LEAKED` counts the patients of a set who are also in training or validation data. The table
on disk is a cache: a run is read once, when it is first seen finished.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from ctbench_core.atomic import write_bytes, write_with
from ctbench_core.config import Config
from ctbench_core.label_leakage import leakage_banner, leakage_note
from ctbench_core.runs import VALIDATION, Disclosures, RunPaths, RunStore, read_json
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan
from ctbench_core.studies.status import run_state

COLUMNS = ("run", "set", "finding", "metric", "value")
TRAINING = "training"
OUT_OF_FOLD = "out of fold"
FOLD = "fold_"
UNITS = ("patients", "exams", "volumes")  # of training and validation rows together, as a budget counts them
MACROS = ("auprc", "auroc", "f1_macro", "f1_tuned")
PER_FINDING = ("auprc", "auroc", "f1", "f1_tuned", "precision", "recall", "support", "prevalence")
LEAKED = "leak_patients"
DECIMALS = 6


def read_results(paths: StudyPaths, plan: Plan) -> pd.DataFrame:
    """Return the long table of the finished runs of a plan, brought up to date."""
    planned = [run.id for run in plan.runs]
    with FileLock(paths.results.with_suffix(".lock")):
        results = pd.read_parquet(paths.results) if paths.results.is_file() else pd.DataFrame(columns=list(COLUMNS))
        if LEAKED not in set(results["metric"]):  # written before leaks were stored: rebuilt
            results = results.iloc[:0]
        known = set(results["run"])
        fresh = [name for name in planned if name not in known and run_state(paths.run(name)) == "finished"]
        if fresh:
            rows = [row for name in fresh for row in _rows(paths.run(name))]
            parts = [results] if len(results) else []
            results = pd.concat([*parts, pd.DataFrame(rows, columns=list(COLUMNS))], ignore_index=True)
            results["value"] = results["value"].astype(float)
            write_with(paths.results, lambda file: results.to_parquet(file, index=False))
    return results[results["run"].isin(planned)].reset_index(drop=True)


def _rows(run_dir: Path) -> Iterator[tuple[str, str, str, str, Any]]:
    files = RunPaths(run_dir)
    provenance = read_json(files.provenance) or {}
    counts, leaks = provenance.get("manifests", {}), provenance.get("leaks") or {}
    for unit in UNITS:
        yield run_dir.name, TRAINING, "", unit, sum(counts.get(split, {}).get(unit, 0) for split in ("train", "val"))
    validation = (read_json(files.best_metrics) or {}).get("val_metrics", {})
    sets = {VALIDATION: validation | {"leak": {"patients": len(leaks.get("val", []))}}}
    for path in sorted((run_dir / "evaluation").glob("*/metrics.json")):
        sets[path.parent.name] = read_json(path) or {}
    for name, metrics in sets.items():
        yield run_dir.name, name, "", LEAKED, (metrics.get("leak") or {}).get("patients", 0)
        for metric in MACROS:
            if metric in metrics:  # validation has no tuned threshold of its own
                yield run_dir.name, name, "", metric, metrics[metric]
        for finding, values in metrics.get("per_class", {}).items():
            for metric in PER_FINDING:
                if metric in values:
                    yield run_dir.name, name, finding, metric, values[metric]


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

    Evaluations are counted over all runs of the study, as the Evaluate page counts those of a run's job: a study of
    1,000 runs evaluated its test set 1,000 times. Of several test sets, or the folds of a K-fold, the one evaluated
    most often counts; without a test set there is no count. The leak is the largest of any run and set; label origins
    are the distinct ones; one run that reads text brings its warning. Only the ledger is read, no run.

    Args:
        results: as `read_results` returns them.
        configs: of the finished runs.
    """
    tests = _test_sets(results)
    entries = RunStore(paths.root.parent).openings(paths.root.name) if tests else []
    runs_by_test: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        runs_by_test[Path(str(entry.get("manifest", ""))).stem].append(Path(str(entry.get("run", ""))).name)
    most = max((runs_by_test.get(Path(name).stem, []) for name in tests), key=len, default=[])
    return Disclosures(
        set_name=comparison_set(results),
        openings=len(most) if tests else None,
        runs=len(set(most)),
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
    place = next((place for place, metric in enumerate(MACROS) if name.endswith(metric)), -1)
    return not name.startswith(VALIDATION), name.removesuffix(MACROS[place]), place


def write_table(paths: StudyPaths, plan: Plan, results: pd.DataFrame) -> Path:
    """Write the table of runs as CSV, six decimals and no times, and return its path."""
    text = run_table(plan, results).to_csv(index=False, float_format=f"%.{DECIMALS}f", lineterminator="\n")
    write_bytes(paths.table, text.encode("utf-8"))
    return paths.table
