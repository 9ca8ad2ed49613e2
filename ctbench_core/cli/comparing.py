"""The verb that compares runs."""

from __future__ import annotations

from pathlib import Path

from ctbench_core.cli.call import Call, Outcome
from ctbench_core.cli.tables import figure, grid
from ctbench_core.errors import ConfigError

WORDS = "<run directory> <run directory> ... [on=<test set|validation>] [paper=<folder>]"


def compare(call: Call) -> Outcome:
    """Compare stored runs with the first."""
    from ctbench_core.compare.comparison import compare_runs
    from ctbench_core.compare.export import write_paper
    from ctbench_core.runs import open_run

    options = dict(word.split("=", 1) for word in call.words if word.startswith(("on=", "paper=")))
    folders = [word.removeprefix("run=") for word in call.words if not word.startswith(("on=", "paper="))]
    if len(folders) < 2:
        raise ConfigError(f"compare takes two run directories or more, got {len(folders)}: compare {WORDS}.")
    found = compare_runs(folders, options.get("on"))
    result = found.to_json(folders)
    rows = [
        [
            f"{row.a} - {row.b}" if row.label == "macro" else f"  {row.label}",
            row.metric.upper(),
            figure(row.delta),
            f"[{figure(row.lo)}, {figure(row.hi)}]",
            figure(row.p),
            figure(row.p_adjusted),
        ]
        for row in found.differences.itertuples()
    ]
    n = found.common.n
    head = f"{found.on}: {n['volumes']:,} volumes, {n['exams']:,} exams, {n['patients']:,} patients in common"
    if found.common.left_out:
        head += f", {found.common.left_out:,} volumes left out"
    parts = [head, grid(["", "", "difference", "95 %", "p", "adjusted"], rows)]
    if len(found.differences):
        parts.append(f"Adjusted by Benjamini-Hochberg over {found.differences['family'].iloc[0]}; intervals are not.")
    for metric, best in found.best.items():
        if best.index is not None and best.marked:
            parts.append(f"Best macro {metric.upper()}, against all others (max-T): {found.common.names[best.index]}")
    if found.openings:
        parts.append(f"The ledger counts {found.openings} openings of {found.on} by these jobs.")
    if options.get("paper"):
        names = write_paper(Path(options["paper"]), found, [open_run(folder) for folder in folders])
        result["paper"] = [str(Path(options["paper"]) / name) for name in names]
        parts.append(f"Paper table and Methods in {options['paper']}")
    return Outcome(result, "\n".join(parts))
