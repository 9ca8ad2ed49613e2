"""The verb that compares runs."""

from __future__ import annotations

from pathlib import Path

from ctbench_core.cli.call import Call, Outcome
from ctbench_core.cli.tables import figure, grid
from ctbench_core.errors import ConfigError, unknown_name

WORDS = "<run directory> <run directory> ... [on=<test set|validation>] [by=run|recipe] [paper=<folder>]"

_OPTIONS = ("on=", "by=", "paper=")


def compare(call: Call) -> Outcome:
    """Compare stored runs, or with by=recipe the recipes of which they are seeds, with the first."""
    from ctbench_core.compare.comparison import compare_runs
    from ctbench_core.compare.export import write_paper
    from ctbench_core.compare.recipes import compare_recipes
    from ctbench_core.runs import open_run

    ways = {"run": compare_runs, "recipe": compare_recipes}
    options = dict(word.split("=", 1) for word in call.words if word.startswith(_OPTIONS))
    folders = [word.removeprefix("run=") for word in call.words if not word.startswith(_OPTIONS)]
    if len(folders) < 2:
        raise ConfigError(f"compare takes two run directories or more, got {len(folders)}: compare {WORDS}.")
    by = options.get("by", "run")
    if by not in ways:
        raise unknown_name("way to compare (by=)", by, ways)
    found = ways[by](folders, options.get("on"))
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
    parts.append(" · ".join(found.marks.sentences()))
    if options.get("paper"):
        names = write_paper(Path(options["paper"]), found, [open_run(folder) for folder in folders])
        result["paper"] = [str(Path(options["paper"]) / name) for name in names]
        parts.append(f"Paper table and Methods in {options['paper']}")
    return Outcome(result, "\n".join(parts))
