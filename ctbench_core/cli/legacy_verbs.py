"""The verbs for those who come from the older system: its runs taken in, and its tables made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.atomic import write_bytes, write_text
from ctbench_core.cli.call import Call, Outcome
from ctbench_core.cli.compose import Composed
from ctbench_core.cli.summaries import grid
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.features import check_allowed
from ctbench_core.formatting import format_metric
from ctbench_core.legacy.folders import OldRun, is_old_run
from ctbench_core.legacy.importing import Imported, import_runs, list_runs
from ctbench_core.runs import Run, job_dir, newest_resumable

IMPORT_WORDS = "<run folder, or a folder of runs> [list=true] [paths.outputs_root=...] [key=value ...]"


def import_(call: Call) -> Outcome:
    """Take runs of the older system into the run store, or only list them."""
    folder = _one_folder(call, "import")
    composed = call.compose("train", extras=("list",))
    if composed.extras.get("list"):
        runs = list_runs(folder, composed.config.paths.outputs_root, _laid_over(composed))
    else:
        runs = import_runs(folder, composed.config.paths.outputs_root, _laid_over(composed), call.progress)
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
    return Outcome(result, _table(runs, warnings), 1 if failed else 0)


def _laid_over(composed: Composed) -> dict[str, object]:
    return {key: value for key, value in composed.given.items() if key != "paths.outputs_root"}


def _table(runs: list[Imported], warnings: list[str]) -> str:
    rows = [
        [
            f"{run.job}/{run.label}",
            str(run.epochs or ""),
            format_metric(run.best_val.get("auprc")),
            "" if run.problem else str(run.run_dir),
            "new" if run.new else "there already" if run.present else "failed" if run.problem else "",
        ]
        for run in runs
    ]
    lines = [grid(["run", "epochs", "val. AUPRC", "run directory", ""], rows)]
    lines += [f"Failed: {run.problem}" for run in runs if run.problem]
    return "\n".join(lines + [f"Warning: {text}" for text in warnings])


AGGREGATE_WORDS = (
    "<folder of runs> [source=gpt] [again=true] [output_dir=outputs/aggregated_results] [output_prefix=...] "
    "[paths.manifest_dir=...] [data.test_manifests=[...]]"
)


def aggregate(call: Call) -> Outcome:
    """Evaluate many runs, and write the table by run, the table by budget, and the scaling plot."""
    from ctbench_core.legacy.aggregate import aggregate as tables_of
    from ctbench_core.legacy.plots import scaling_page

    folder = _one_folder(call, "aggregate")
    composed = call.compose("train", extras=("source", "again", *_OUTPUT))
    given = composed.extras
    per_run, by_budget, warnings = tables_of(
        folder,
        composed.config,
        source=given.get("source"),
        again=bool(given.get("again")),
        progress=call.progress,
    )
    files = _written(given, Path(folder).name, {"per_run": per_run, "by_budget": by_budget})
    if (page := scaling_page(by_budget)) is not None:
        plot = Path(files["by_budget"].removesuffix("_by_budget.csv") + "_scaling.html")
        write_text(plot, page)
        files["scaling"] = str(plot)
    result = {"runs": len(per_run), "files": files, "by_budget": by_budget.to_dict("records"), "warnings": warnings}
    return Outcome(result, "\n".join([_budgets(by_budget), *_told(files, warnings)]))


def _budgets(frame: pd.DataFrame) -> str:
    parts = [column for column in frame if column in ("source", "encoder", "model", "inputs", "budget_n")]
    rows = [
        [
            " ".join(str(row[part]) for part in parts[:-1]),
            "" if pd.isna(row["budget_n"]) else f"{row['budget_n']:.0f}",
            *(f"{format_metric(row[f'{name}_mean'])} ± {format_metric(row[f'{name}_std'])}" for name in _PRIMARY),
            f"{row['test_primary_auprc_count']:.0f}",
        ]
        for row in frame.to_dict("records")
    ]
    return grid(["source", "budget", "AUPRC", "AUROC", "F1", "runs"], rows)


CONTRAST_WORDS = (
    "first=<folder of runs or per-run CSV> second=<the same> [first_name=manual] [second_name=gpt], "
    "or <folder of runs> first=<source> second=<source>; [budgets=[...]] [metrics=[...]] "
    "[pair_keys=[budget_n,cv_fold,utils_seed]] [output_dir=...] [output_prefix=...]"
)
_PRIMARY = ("test_primary_auprc", "test_primary_auroc", "test_primary_f1_macro")
_OUTPUT = ("output_dir", "output_prefix")


def contrast(call: Call) -> Outcome:
    """Compare two label sources run by run and finding by finding, and write the tables."""
    from ctbench_core.legacy import contrast as room

    extras = ("first", "second", "first_name", "second_name", "budgets", "metrics", "pair_keys", *_OUTPUT)
    folders = [word for word in call.words if "=" not in word]
    call.words[:] = [word for word in call.words if "=" in word]
    composed = call.compose("train", extras=extras)
    given = composed.extras
    if len(folders) > 1 or not (given.get("first") and given.get("second")):
        raise ConfigError(f"contrast takes {CONTRAST_WORDS}")
    sides, names = _sides(call, composed, folders)
    if given.get("budgets"):
        sides = [side[side["budget_n"].isin(given["budgets"])] for side in sides]
    metrics, keys = given.get("metrics") or room.PRIMARY, given.get("pair_keys") or room.PAIR_KEYS
    tables = room.contrast_tables(sides[0], sides[1], names, metrics, keys)
    pairs, summary = tables["paired"], tables["summary"]
    files = _written(given, "_vs_".join(names), tables)
    result = {"pairs": len(pairs), "family": len(summary), "files": files, "summary": summary.to_dict("records")}
    return Outcome(result, "\n".join([_contrasts(summary, names), *_told(files, [])]))


def _sides(call: Call, composed: Composed, folders: list[str]) -> tuple[list[pd.DataFrame], tuple[str, str]]:
    """Return the tables of runs of both sources, and what the sources are called."""
    from ctbench_core.legacy import contrast as room
    from ctbench_core.legacy.aggregate import find_runs, per_run_table

    def table(place: str) -> pd.DataFrame:
        path = check_allowed(place)
        if path.is_file():
            return room.read_per_run(path)
        return per_run_table(find_runs(path, composed.config.paths.outputs_root, call.progress))

    given, which = composed.extras, ("first", "second")
    if folders:
        whole = table(folders[0])
        sides = [room.runs_of_source(whole, str(given[side]), folders[0]) for side in which]
        return sides, (given["first"], given["second"])
    sides = [table(str(given[side])) for side in which]
    first, second = (
        str(given.get(f"{side}_name") or frame.get("source", pd.Series([side])).iloc[0])
        for side, frame in zip(which, sides)
    )
    return sides, (first, second)


def _contrasts(summary: pd.DataFrame, names: tuple[str, str]) -> str:
    rows = [
        [
            row["metric"].removeprefix("test_primary_"),
            "" if pd.isna(row["budget_n"]) else f"{row['budget_n']:.0f}",
            *(format_metric(row[f"{name}_mean"]) for name in names),
            f"{format_metric(row['delta_mean'])} [{format_metric(row['delta_ci_lo'])}, {format_metric(row['delta_ci_hi'])}]",
            format_metric(row["p_value"]),
            format_metric(row["p_value_adj"]),
            format_metric(row["effect_size"], 2),
            str(row["n_pairs"]),
        ]
        for row in summary.to_dict("records")
    ]
    head = ["metric", "budget", *names, "difference", "p", f"p (BH of {len(summary)})", "d", "pairs"]
    note = "Pairs of (fold, seed) are taken as independent: a sensitivity test. Compare by patients before you publish."
    return f"{grid(head, rows)}\n{note}"


BUDGETS_WORDS = (
    "budgets=[50,100,all] seeds=[42,43] [data.kfold.folds=5] [data.budget_unit=patient|exam|volume] "
    "[data.selection=<selection_index.csv>] [output_dir=<manifest_dir>/budget_splits] [prefix=...] [key=value ...]"
)


def budgets(call: Call) -> Outcome:
    """Write budget and K-fold budget manifests with their indexes."""
    from ctbench_core.legacy.budget_files import write_budget_files

    composed = call.compose("train", extras=("budgets", "seeds", "output_dir", "prefix"))
    given, config = composed.extras, composed.config
    folder = Path(given.get("output_dir") or Path(config.paths.manifest_dir) / "budget_splits")
    sizes = [_size(value) for value in given.get("budgets") or []]
    seeds = given.get("seeds") or [config.utils.seed]
    index, warnings = write_budget_files(config, sizes, seeds, folder, given.get("prefix"))
    result = {
        "output_dir": str(folder),
        "manifests": len(index),
        "index": index.to_dict("records"),
        "warnings": warnings,
    }
    lines = [f"{len(index)} training manifests with their validation rows in {folder}."]
    return Outcome(result, "\n".join(lines + [f"Warning: {text}" for text in warnings]))


def _size(value: Any) -> int | None:
    if value == "all":
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"A budget is {value!r}; expected a number of units, or all.")
    return value


def _one_folder(call: Call, verb: str) -> str:
    folders = [word for word in call.words if "=" not in word]
    if len(folders) != 1:
        raise ConfigError(f"{verb} takes one folder, got {len(folders)}.")
    call.words.remove(folders[0])
    return folders[0]


def _written(given: dict[str, Any], usual: str, tables: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Write tables as ``<output_dir>/<prefix>_<name>.csv``, and return where."""
    folder = check_allowed(given.get("output_dir") or Path("outputs") / "aggregated_results")
    prefix = given.get("output_prefix") or usual
    files = {name: folder / f"{prefix}_{name}.csv" for name in tables}
    for name, path in files.items():
        write_bytes(path, tables[name].to_csv(index=False, lineterminator="\n").encode())
    return {name: str(path) for name, path in files.items()}


def _told(files: dict[str, str], warnings: list[str]) -> list[str]:
    return [*files.values(), *(f"Warning: {text}" for text in warnings)]


def import_if_legacy(call: Call, composed: Composed, folder: Path) -> Path:
    """Return the run directory that a folder means: an older system's run is taken in first."""
    if not is_old_run(folder):
        return folder
    (run,) = import_runs(folder, composed.config.paths.outputs_root, {}, call.progress)
    if run.problem:
        raise InputError(run.problem)
    for text in run.warnings:
        call.progress.note(f"Warning: {text}")
    call.progress.note(f"{folder} is a run of the older system; it is {run.run_dir} in the run store.")
    return run.run_dir


def run_to_resume(call: Call, composed: Composed, folder: Path | None) -> Run:
    """Return the run to go on with: the named one, or the job's newest that was stopped; an older one is taken in first.

    Raises:
        InputError: there is none, or its snapshot cannot be gone on from.
    """
    if folder is not None:
        return newest_resumable(composed.config, import_if_legacy(call, composed, folder))
    try:
        return newest_resumable(composed.config)
    except InputError:
        beside = (folder for folder in job_dir(composed.config).glob("*/") if is_old_run(folder))
        stopped = [old for old in map(OldRun, beside) if not old.model.is_file()]
        if not stopped:
            raise
        newest = max(stopped, key=lambda old: old.started())
        return newest_resumable(composed.config, import_if_legacy(call, composed, newest.root))
