"""Figures of a study's finished runs in one long table, read from the run directories once.

Rows: run, set (validation, or a test manifest's name without suffix), finding (empty for the macro mean), metric,
value; the metric `LEAKED` counts the patients of a set who also stand in training or validation data. The file is a
cache: a run is read when it is first seen finished, and the table can always be made anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from ctbench_core.atomic import write_bytes, write_with
from ctbench_core.runs import RunPaths
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan, PlannedRun
from ctbench_core.studies.work import state_of

COLUMNS = ("run", "set", "finding", "metric", "value")
VALIDATION, TRAINING = "validation", "training"
UNITS = ("patients", "exams", "volumes")  # what a budget counts, validation included
MACROS = ("auprc", "auroc", "f1_macro", "f1_tuned")
PER_FINDING = ("auprc", "auroc", "f1", "f1_tuned", "precision", "recall", "support", "prevalence")
LEAKED = "leak_patients"
DECIMALS = 6


def read_results(paths: StudyPaths, plan: Plan) -> pd.DataFrame:
    """Return the long table of the finished runs of a plan, brought up to date."""
    wanted = [run.id for run in plan.runs]
    with FileLock(paths.results.with_suffix(".lock")):
        known = pd.read_parquet(paths.results) if paths.results.is_file() else pd.DataFrame(columns=list(COLUMNS))
        if LEAKED not in set(known["metric"]):  # from before leaks were kept: made anew
            known = known.iloc[:0]
        have = set(known["run"])
        fresh = [name for name in wanted if name not in have and state_of(paths.run(name)) == "finished"]
        if fresh:
            rows = [row for name in fresh for row in _rows(paths.run(name))]
            parts = [known] if len(known) else []
            known = pd.concat([*parts, pd.DataFrame(rows, columns=list(COLUMNS))], ignore_index=True)
            known["value"] = known["value"].astype(float)
            write_with(paths.results, lambda file: known.to_parquet(file, index=False))
    return known[known["run"].isin(wanted)].reset_index(drop=True)


def _rows(run_dir: Path) -> Iterator[tuple[str, str, str, str, Any]]:
    files = RunPaths(run_dir)
    best = _json(files.best_metrics)
    trained = _json(files.provenance)
    used, leaks = trained.get("manifests", {}), trained.get("leaks") or {}
    for unit in UNITS:
        yield run_dir.name, TRAINING, "", unit, sum(used.get(split, {}).get(unit, 0) for split in ("train", "val"))
    leaked = {"leak": {"patients": len(leaks.get("val", []))}}
    sets = {VALIDATION: best.get("val_metrics", {}) | leaked}
    for path in sorted((run_dir / "evaluation").glob("*/metrics.json")):
        sets[path.parent.name] = _json(path)
    for name, metrics in sets.items():
        yield run_dir.name, name, "", LEAKED, (metrics.get("leak") or {}).get("patients", 0)
        for metric in MACROS:
            if metric in metrics:  # validation has no tuned threshold of its own
                yield run_dir.name, name, "", metric, metrics[metric]
        for finding, values in metrics.get("per_class", {}).items():
            for metric in PER_FINDING:
                if metric in values:
                    yield run_dir.name, name, finding, metric, values[metric]


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def run_table(plan: Plan, results: pd.DataFrame) -> pd.DataFrame:
    """Return one row a finished run, in the order of the plan: its labels, what it learned from, its macro figures."""
    macros = results[(results["finding"] == "") & (results["metric"] != LEAKED)]
    names = macros["set"].where(macros["set"] != TRAINING, "n") + "_" + macros["metric"]
    wide = macros.assign(name=names).pivot(index="run", columns="name", values="value")
    counts = [f"n_{unit}" for unit in UNITS]
    wide = wide[[*counts, *(name for name in sorted(wide, key=_order) if name not in counts)]]
    wide[counts] = wide[counts].astype(int)
    wide.columns.name = None
    return labels_frame(plan.runs).join(wide, on="run", how="inner").reset_index(drop=True)


def _order(name: str) -> tuple[bool, str, int]:
    """Sort validation first, then test by test, in the order of the macros."""
    found = next((place for place, metric in enumerate(MACROS) if name.endswith(metric)), -1)
    return not name.startswith(VALIDATION), name.removesuffix(MACROS[found]), found


def labels_frame(runs: Sequence[PlannedRun]) -> pd.DataFrame:
    """Return one row a planned run: run, its label on each axis, bank, extension."""
    rows = [{"run": run.id, **run.labels, "bank": run.bank, "extension": run.extension} for run in runs]
    return pd.DataFrame(rows)


def write_table(paths: StudyPaths, plan: Plan, results: pd.DataFrame) -> Path:
    """Write the table of runs as CSV, six decimals and no times, and return where it lies."""
    text = run_table(plan, results).to_csv(index=False, float_format=f"%.{DECIMALS}f", lineterminator="\n")
    write_bytes(paths.table, text.encode("utf-8"))
    return paths.table
