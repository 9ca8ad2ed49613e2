"""The verbs for those who come from the older system: its runs taken in."""

from __future__ import annotations

from pathlib import Path

from ctbench_core.cli.call import Call, Outcome
from ctbench_core.cli.compose import Composed
from ctbench_core.cli.tables import figure, grid
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.legacy import Imported, import_runs, is_old_run, list_runs

IMPORT_WORDS = "<run folder, or a folder of runs> [list=true] [paths.outputs_root=...] [key=value ...]"


def import_(call: Call) -> Outcome:
    """Take runs of the older system into the run store, or only list them."""
    folders = [word for word in call.words if "=" not in word]
    if len(folders) != 1:
        raise ConfigError(f"import takes one folder, got {len(folders)}: import <run folder, or a folder of runs>.")
    call.words.remove(folders[0])
    composed = call.compose("train", extras=("list",))
    if composed.extras.get("list"):
        runs = list_runs(folders[0], composed.config.paths.outputs_root, _laid_over(composed))
    else:
        runs = import_runs(folders[0], composed.config.paths.outputs_root, _laid_over(composed), call.progress)
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
            figure(run.best_val.get("auprc")),
            "" if run.problem else str(run.run_dir),
            "new" if run.new else "there already" if run.present else "failed" if run.problem else "",
        ]
        for run in runs
    ]
    lines = [grid(["run", "epochs", "val. AUPRC", "run directory", ""], rows)]
    lines += [f"Failed: {run.problem}" for run in runs if run.problem]
    return "\n".join(lines + [f"Warning: {text}" for text in warnings])


def taken_in(call: Call, composed: Composed, folder: Path) -> Path:
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
