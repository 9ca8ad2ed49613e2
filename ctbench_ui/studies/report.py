"""A study to take away: one HTML file with every figure and table, and its table in LaTeX."""

from __future__ import annotations

import html as escape
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import plotly.io
import yaml

from ctbench_core.formatting import format_metric
from ctbench_core.studies import bottlenecks, cell_axes
from ctbench_ui.shared import tables
from ctbench_ui.shared.figures import with_note, with_note_below
from ctbench_ui.studies import curves, frames, plots, run_tables

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem } .note { color: #57606a }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }
th, td { padding: 3px 10px; border-bottom: 1px solid #d8dee4; text-align: right } th { border-bottom: 2px solid #57606a }
td:first-child, th:first-child { text-align: left } .scroll { overflow-x: auto } pre { background: #f6f8fa; padding: 1rem }
"""


def html(folder: str) -> str:
    """Return the report of a study as one page that needs no server and no network."""
    at = frames.results_stamp(folder)
    plan = frames.plan_of(folder)
    frame, axes = frames.cells(folder, at), cell_axes(plan)
    source = frames.source(folder, at)
    ended = len(frames.runs(folder, at))
    first = plan.extensions[0]
    facts = [
        f"{ended:,} of {len(plan.runs):,} runs finished; judged on {frame['set'].iloc[0]}.",
        f"Planned {first['when']} with seeds {', '.join(map(str, first['seeds']))}.",
        *(
            f"Extended {part['when']} by {part['runs']} runs (seeds {', '.join(map(str, part['seeds']))})."
            for part in plan.extensions[1:]
        ),
        "Intervals: 95 %, over seeds and test patients where a cell has several seeds.",
        " · ".join(filter(None, (source.plain_note, source.marks.banner if source.marks else ""))),
    ]
    parts = [
        f"<h1>{escape.escape(plan.study.name)}</h1>",
        *(f'<p class="note">{escape.escape(fact)}</p>' for fact in facts),
    ]
    parts += _figures(folder, at, axes)
    parts += _tables(folder, at, frame, axes)
    study = yaml.safe_dump(plan.study.to_dict(), sort_keys=False, allow_unicode=True)
    parts += ["<h2>The study</h2>", f"<pre>{escape.escape(study)}</pre>"]
    head = f'<meta charset="utf-8"><title>{escape.escape(plan.study.name)}</title><style>{_STYLE}</style>'
    script = f"<script>{plotly.offline.get_plotlyjs()}</script>"
    return f"<!doctype html><html lang=en><head>{head}{script}</head><body>{''.join(parts)}</body></html>"


def _figures(folder: str, at: frames.Stamp, axes: list[str]) -> list[str]:
    parts, note = [], frames.source(folder, at).plain_note
    for metric in ("auprc", "auroc"):
        name = plots.metric_name(metric)
        if frames.BUDGET in axes:
            fits = frames.fits(folder, at, metric)
            rows = frames.lines(folder, at, metric, "")
            parts += [
                f"<h2>{name} by labels</h2>",
                _figure(with_note(plots.scaling_curves(rows, fits, metric, "patients"), note)),
            ]
            if fits:
                highest = max(float(curve.mean[-1]) for curve in fits.values())
                parts += [
                    f"<h3>Patients needed for {name} {format_metric(0.95 * highest, 2)}</h3>",
                    _table(curves.needed_frame(fits, round(0.95 * highest, 2))),
                ]
            crossings = curves.crossing_frame(folder, at, metric)
            parts += ["<h3>Crossings</h3>", _table(crossings)] if len(crossings) else []
        for fixed in run_tables.slices(folder, at, axes):
            axis = run_tables.wide_axis(axes)
            title = ", ".join(f"{key} {value}" for key, value in fixed.items())
            values, marked = run_tables.heat_frames(folder, at, metric, axis, fixed)
            if len(values):
                parts += [
                    f"<h2>{name} by finding</h2><p>{escape.escape(title)}</p>",
                    _figure(with_note_below(plots.heat_map(values, marked, metric), note)),
                ]
    return parts


def _tables(folder: str, at: frames.Stamp, frame: pd.DataFrame, axes: list[str]) -> list[str]:
    parts = ["<h2>Cells</h2>", _table(run_tables.overview_frame(frame, axes))]
    for axis in [axis for axis in axes if axis != frames.BUDGET and frame[axis].nunique() > 1]:
        table = frames.compared(folder, at, axis)
        for metric in ("auprc", "auroc"):
            forest = plots.forest(run_tables.macro_differences(table, axes, axis, metric), metric)
            parts.append(_figure(with_note(forest, frames.source(folder, at).plain_note)))
        parts += [f"<h2>Differences along {escape.escape(axis)}</h2>", _table(tables.with_p_values(table))]
    parts += ["<h2>Bottlenecks</h2>", _table(run_tables.bottleneck_frame(bottlenecks(frame, axes, "auprc")))]
    return [*parts, "<h2>Runs</h2>", _table(frames.runs(folder, at))]


def _figure(found: go.Figure) -> str:
    return plotly.io.to_html(found, full_html=False, include_plotlyjs=False)


def _table(frame: pd.DataFrame) -> str:
    body = frame.to_html(index=False, border=0, float_format=lambda value: f"{value:.3f}", na_rep="–")
    return f'<div class="scroll">{body}</div>'


def latex(folder: str) -> str:
    """Return the macro figures of every cell as a LaTeX table (booktabs), the study's marks below it."""
    at = frames.results_stamp(folder)
    axes = cell_axes(frames.plan_of(folder))
    table = run_tables.overview_frame(frames.cells(folder, at), axes)
    rows = [" & ".join(_tex(str(value)) for value in row) + r" \\" for row in table.to_numpy()]
    head = " & ".join(_tex(name) for name in table) + r" \\"
    columns = "l" * len(axes) + "l" + "r" * (table.shape[1] - len(axes) - 1)
    name = _tex(Path(folder).name)
    note = _tex(frames.source(folder, at).plain_note.replace(" · ", "; "))
    lines = [
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        rf"\par\smallskip{{\footnotesize {note}.\par}}",
        f"% {name}",
    ]
    return "\n".join(lines) + "\n"


def _tex(text: str) -> str:
    found = "".join(
        {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}.get(
            c, f"\\{c}" if c in "&%$#_{}" else c
        )
        for c in text
    )
    return found.replace("–", "--").replace("∞", r"$\infty$")
