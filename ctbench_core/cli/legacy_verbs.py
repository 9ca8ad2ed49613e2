"""The verbs for users of ct-rate-feature-benchmarks: import its runs, and write its tables and manifest files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core import legacy
from ctbench_core.atomic import write_text
from ctbench_core.cli.composed import Composed
from ctbench_core.cli.invocation import Call, Outcome
from ctbench_core.cli.summaries import grid, warning_lines
from ctbench_core.cli.usage import CONTRAST_USAGE
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.features import check_allowed
from ctbench_core.formatting import format_interval, format_mean_sd, format_metric, format_p, plural
from ctbench_core.installation import install_command
from ctbench_core.names import safe_name
from ctbench_core.runs import Run, job_dir, newest_resumable
from ctbench_core.tables import write_sheet

_OUTPUT = ("output_dir", "output_prefix")


def import_(call: Call) -> Outcome:
    """Import runs of the older system into the run store, or only list them."""
    folder, overrides = call.one_positional("import", "folder")
    composed = call.compose("train", extras=("list",), overrides=overrides)
    store = composed.config.paths.outputs_root
    values = {key: value for key, value in composed.overrides.items() if key != "paths.outputs_root"}
    if composed.extras.get("list"):
        runs = legacy.list_runs(folder, store, values)
    else:
        runs = legacy.import_runs(folder, store, values, call.progress)
    failed = [run for run in runs if run.problem]
    if len(failed) == len(runs):
        raise InputError("\n".join(run.problem for run in failed))
    warnings = list(dict.fromkeys(text for run in runs for text in run.warnings))
    result = {
        "runs": [run.to_json() for run in runs],
        "imported": sum(run.new for run in runs),
        "present": sum(run.present and not run.new for run in runs),
        "failed": len(failed),
        "warnings": warnings,
    }
    if len(runs) == 1:
        result["run_dir"] = str(runs[0].run_dir)
    return Outcome(result, _import_table(runs, warnings), 1 if failed else 0)


def _import_table(runs: list[legacy.ImportedRun], warnings: list[str]) -> str:
    rows = [
        [
            f"{run.job}/{run.label}",
            str(run.epochs or ""),
            format_metric(run.best_val.get("auprc")),
            "" if run.problem else str(run.run_dir),
            "imported" if run.new else "already imported" if run.present else "failed" if run.problem else "",
        ]
        for run in runs
    ]
    table = grid(["run", "epochs", "validation AUPRC", "run directory", "status"], rows)
    return "\n".join([table, *(f"Failed: {run.problem}" for run in runs if run.problem), *warning_lines(warnings)])


def aggregate(call: Call) -> Outcome:
    """Evaluate many runs; write the table by run, the table by label budget, and the scaling plot."""
    folder, overrides = call.one_positional("aggregate", "folder")
    composed = call.compose("train", extras=("source", "again", *_OUTPUT), overrides=overrides)
    options = composed.extras
    per_run, by_budget, warnings = legacy.aggregate_runs(
        folder,
        composed.config,
        source=options.get("source"),
        again=bool(options.get("again")),
        progress=call.progress,
    )
    files = _write_tables(options, Path(folder).name, {"per_run": per_run, "by_budget": by_budget})
    page = None
    if find_spec("plotly") is None:
        warnings = [*warnings, f"No scaling plot, which needs Plotly. Install it: {install_command('app')}"]
    else:
        page = legacy.scaling_page(by_budget)
    if page is not None:
        plot = Path(files["by_budget"].removesuffix("_by_budget.csv") + "_scaling.html")
        write_text(plot, page)
        files["scaling"] = str(plot)
    result = {"runs": len(per_run), "files": files, "by_budget": by_budget.to_dict("records"), "warnings": warnings}
    return Outcome(result, "\n".join([_budget_grid(by_budget), *files.values(), *warning_lines(warnings)]))


def _budget_grid(frame: pd.DataFrame) -> str:
    keys = legacy.budget_keys(frame)[:-1]
    rows = [
        [
            " ".join(str(row[key]) for key in keys),
            _budget(row),
            *(format_mean_sd(row[f"{name}_mean"], row[f"{name}_std"]) for name in legacy.PRIMARY_METRICS),
            f"{row['test_primary_auprc_count']:.0f}",
        ]
        for row in frame.to_dict("records")
    ]
    return grid(["source", "budget", "AUPRC", "AUROC", "F1", "runs"], rows)


def _budget(row: dict[str, Any]) -> str:
    return "" if pd.isna(row["budget_n"]) else f"{row['budget_n']:.0f}"


def contrast(call: Call) -> Outcome:
    """Compare two label sources run by run and finding by finding, and write the tables."""
    extras = ("first", "second", "first_name", "second_name", "budgets", "metrics", "pair_keys", *_OUTPUT)
    folders, overrides = call.split()
    composed = call.compose("train", extras=extras, overrides=overrides)
    options = composed.extras
    if len(folders) > 1 or not (options.get("first") and options.get("second")):
        raise ConfigError(f"contrast takes {CONTRAST_USAGE}")
    tables, names, damaged = _per_run_tables(call, composed, folders)
    if budgets := _listed(options.get("budgets")):
        tables = [table[table["budget_n"].isin(budgets)] for table in tables]
    metrics = _listed(options.get("metrics")) or legacy.PRIMARY_METRICS
    keys = _listed(options.get("pair_keys")) or legacy.PAIR_KEYS
    contrasts = legacy.contrast_tables(tables[0], tables[1], names, metrics, keys)
    pairs, summary = contrasts["paired"], contrasts["summary"]
    files = _write_tables(options, "_vs_".join(names), contrasts)
    warnings = damaged + legacy.pairing_warnings(tables[0], tables[1], pairs, names, metrics)
    result = {"pairs": len(pairs), "family": len(summary), "files": files, "summary": summary.to_dict("records")}
    text = "\n".join([_contrast_grid(summary, names), *warning_lines(warnings), *files.values()])
    return Outcome(result | {"warnings": warnings}, text)


def _listed(value: Any) -> list[Any]:
    """Return an option's values: a list, one value, or none."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _per_run_tables(
    call: Call, composed: Composed, folders: list[str]
) -> tuple[list[pd.DataFrame], tuple[str, str], list[str]]:
    """Return the per-run tables of both sources, the names of the sources, and warnings of damaged runs."""
    damaged: list[str] = []

    def read(place: str) -> pd.DataFrame:
        path = check_allowed(place)
        if path.is_file():
            return legacy.read_per_run(path)
        runs, left_out = legacy.find_runs(path, composed.config.paths.outputs_root, call.progress)
        damaged.extend(left_out)
        return legacy.per_run_table(runs)

    options, sides = composed.extras, ("first", "second")
    if folders:
        both = read(folders[0])
        tables = [legacy.runs_of_source(both, str(options[side]), folders[0]) for side in sides]
        return tables, (options["first"], options["second"]), damaged
    tables = [read(str(options[side])) for side in sides]
    first, second = (
        str(options.get(f"{side}_name") or table.get("source", pd.Series([side])).iloc[0])
        for side, table in zip(sides, tables)
    )
    return tables, (first, second), damaged


def _contrast_grid(summary: pd.DataFrame, names: tuple[str, str]) -> str:
    rows = [
        [
            row["metric"].removeprefix("test_primary_"),
            _budget(row),
            *(format_metric(row[f"{name}_mean"]) for name in names),
            format_interval(row["delta_mean"], (row["delta_ci_lo"], row["delta_ci_hi"])),
            format_p(row["p_value"]),
            format_p(row["p_value_adj"]),
            format_metric(row["effect_size"], 2),
            str(row["n_pairs"]),
        ]
        for row in summary.to_dict("records")
    ]
    adjusted = f"p (adjusted, {plural(len(summary), 'test')})"
    header = ["metric", "budget", *names, "difference [95 % CI]", "p", adjusted, "Cohen's d", "pairs"]
    notes = [f"Intervals cover {covers}." for covers in dict.fromkeys(summary["interval"])]
    notes += [f"No interval: {reason}." for reason in dict.fromkeys(summary["reason"]) if reason]
    return "\n".join([grid(header, rows), *notes])


def budgets(call: Call) -> Outcome:
    """Write budget and K-fold budget manifests with their indexes."""
    composed = call.compose("train", extras=("budgets", "seeds", "output_dir", "prefix"))
    options, config = composed.extras, composed.config
    folder = Path(options.get("output_dir") or Path(config.paths.manifest_dir) / "budget_splits")
    sizes = [_budget_size(value) for value in options.get("budgets") or []]
    seeds = options.get("seeds") or [config.utils.seed]
    if prefix := options.get("prefix"):
        safe_name(str(prefix), "prefix")
    index, warnings = legacy.write_budget_files(config, sizes, seeds, folder, prefix)
    result = {
        "output_dir": str(folder),
        "manifests": len(index),
        "index": index.to_dict("records"),
        "warnings": warnings,
    }
    line = f"{plural(len(index), 'training manifest')} with validation manifests in {folder}."
    return Outcome(result, "\n".join([line, *warning_lines(warnings)]))


def _budget_size(value: Any) -> int | None:
    if value == "all":
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"budgets holds {value!r}; expected numbers of units, or all: budgets=[50,100,all].")
    return value


def _write_tables(options: dict[str, Any], name: str, tables: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Write tables as ``<output_dir>/<output_prefix>_<table>.csv``, and return the paths."""
    folder = check_allowed(options.get("output_dir") or Path("outputs") / "aggregated_results")
    prefix = safe_name(str(options.get("output_prefix") or name), "output_prefix")
    files = {table: folder / f"{prefix}_{table}.csv" for table in tables}
    for table, path in files.items():
        write_sheet(path, tables[table])
    return {table: str(path) for table, path in files.items()}


def import_if_legacy(call: Call, composed: Composed, folder: Path) -> Path:
    """Return the run directory of a folder; a run of the older system is imported first."""
    if not legacy.is_old_run(folder):
        return folder
    (run,) = legacy.import_runs(folder, composed.config.paths.outputs_root, {}, call.progress)
    if run.problem:
        raise InputError(run.problem)
    for text in warning_lines(run.warnings):
        call.progress.note(text)
    call.progress.note(f"{folder} is a run of the older system. Its copy in the run store: {run.run_dir}.")
    return run.run_dir


def run_to_resume(call: Call, composed: Composed, folder: Path | None) -> Run:
    """Return the run to resume: the one in a folder, else the job's newest that was stopped; import an older one first.

    Raises:
        InputError: there is none, or its snapshot does not allow it.
    """
    if folder is not None:
        return newest_resumable(composed.config, import_if_legacy(call, composed, folder))
    try:
        return newest_resumable(composed.config)
    except InputError:
        old_runs = (path for path in job_dir(composed.config).glob("*/") if legacy.is_old_run(path))
        stopped = [run for run in map(legacy.OldRun, old_runs) if not run.model.is_file()]
        if not stopped:
            raise
        newest = max(stopped, key=lambda run: run.started())
        return newest_resumable(composed.config, import_if_legacy(call, composed, newest.root))
