"""A study as files: an HTML report with every chart and table, and its table in LaTeX."""

from __future__ import annotations

import html as escape
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import plotly.io

from ctbench_core.config import dump_yaml
from ctbench_core.declared import metric_title
from ctbench_core.figures import add_note, add_note_below
from ctbench_core.formatting import format_metric, format_p, plural
from ctbench_core.studies import axis_title, bottlenecks, cell_axes, label_title, titled_sentences
from ctbench_ui.studies import study_charts, study_tables
from ctbench_ui.studies.study_tables import BUDGET, Stamp, compared_macros, load_cells, load_plan, load_runs

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem } .note { color: #57606a }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }
th, td { padding: 3px 10px; border-bottom: 1px solid #d8dee4; text-align: right } th { border-bottom: 2px solid #57606a }
td:first-child, th:first-child { text-align: left } .scroll { overflow-x: auto } pre { background: #f6f8fa; padding: 1rem }
"""


def html(folder: str) -> str:
    """Return the report of a study as one page that needs no server and no network."""
    at, plan = study_tables.update_results(folder), load_plan(folder)
    axes, title = cell_axes(plan), escape.escape(plan.study.name)
    study = dump_yaml(plan.study.to_dict())
    parts = [
        f"<h1>{title}</h1>",
        *(f'<p class="note">{escape.escape(fact)}</p>' for fact in _facts(folder, at)),
        *_charts(folder, at, axes),
        *_tables(folder, at, axes),
        "<h2>The study</h2>",
        f"<pre>{escape.escape(study)}</pre>",
    ]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    script = f"<script>{plotly.offline.get_plotlyjs()}</script>"
    return f"<!doctype html><html lang=en><head>{head}{script}</head><body>{''.join(parts)}</body></html>"


def _facts(folder: str, at: Stamp) -> list[str]:
    plan, source = load_plan(folder), study_tables.source(folder, at)
    first, *extensions = [
        f"{part['when']}: {plural(part['runs'], 'run')} (seeds {', '.join(map(str, part['seeds']))})."
        for part in plan.extensions
    ]
    finished, total = len(load_runs(folder, at)), plural(len(plan.runs), "run")
    return [
        f"{finished:,} of {total} finished; results on {load_cells(folder, at)['set'].iloc[0]}.",
        f"Planned {first}",
        *(f"Extended {text}" for text in extensions),
        f"Intervals: 95 %, over {', or '.join(dict.fromkeys(load_cells(folder, at)['interval'].dropna())) or 'patients'}.",
        *titled_sentences(study_tables.edges(folder, at)),
        " · ".join(filter(None, (source.plain_note, source.disclosures.banner if source.disclosures else ""))),
    ]


def _charts(folder: str, at: Stamp, axes: list[str]) -> list[str]:
    parts, note = [], study_tables.source(folder, at).plain_note
    for metric in compared_macros():
        name = metric_title(metric)
        if BUDGET in axes:
            parts += _scaling(folder, at, metric)
        for fixed in study_tables.heat_slices(folder, at, axes):
            values, marked, _ = study_tables.heat_tables(folder, at, metric, fixed)
            if len(values):
                labels = ", ".join(f"{axis_title(axis)} {label_title(axis, label)}" for axis, label in fixed.items())
                chart = add_note_below(study_charts.heat_map(values, marked, metric), note)
                parts += [f"<h2>{name} by finding</h2><p>{escape.escape(labels)}</p>", _chart(chart)]
    return parts


def _scaling(folder: str, at: Stamp, metric: str) -> list[str]:
    """Return the scaling curves of a metric, the labels needed, and the crossings."""
    name, points = metric_title(metric), study_tables.curve_points(folder, at, metric, "")
    chart = study_charts.scaling_curves(points, study_tables.curve_fits(points), metric, "patients")
    parts = [f"<h2>{name} by label budget</h2>", _chart(add_note(chart, study_tables.source(folder, at).plain_note))]
    value = round(0.95 * float(points["mean"].max()), 2)
    needed = study_tables.needed_table(points, value)
    if len(needed):
        parts += [f"<h3>Patients needed for {name} {format_metric(value, 2)}</h3>", _table(needed)]
    crossings = study_tables.crossing_table(folder, at, metric, "")
    return [*parts, "<h3>Crossings</h3>", _table(crossings)] if len(crossings) else parts


def _tables(folder: str, at: Stamp, axes: list[str]) -> list[str]:
    frame, note = load_cells(folder, at), study_tables.source(folder, at).plain_note
    parts = ["<h2>Recipes</h2>", _table(study_tables.overview_table(frame, axes))]
    for axis in [axis for axis in axes if axis != BUDGET and frame[axis].nunique() > 1]:
        table = study_tables.axis_differences(folder, at, axis)
        for metric in compared_macros():
            rows = study_tables.macro_differences(table, axes, axis, metric)
            parts.append(_chart(add_note(study_charts.macro_forest(rows, metric), note)))
        shown = study_tables.difference_table(table, axes, axis)
        p_values = {name: shown[name].map(format_p) for name in shown if name == "p" or str(name).startswith("p (")}
        parts += [f"<h2>Differences along {escape.escape(axis_title(axis))}</h2>", _table(shown.assign(**p_values))]
    weakest = study_tables.bottleneck_table(bottlenecks(frame, axes, compared_macros()[0]))
    runs = load_runs(folder, at).drop(columns=["bank", "extension"], errors="ignore")
    return [*parts, "<h2>Bottlenecks</h2>", _table(weakest), "<h2>Runs</h2>", _table(runs)]


def _chart(chart: go.Figure) -> str:
    return plotly.io.to_html(chart, full_html=False, include_plotlyjs=False)


def _table(frame: pd.DataFrame) -> str:
    body = frame.to_html(index=False, border=0, float_format=format_metric, na_rep="–")
    return f'<div class="scroll">{body}</div>'


def latex(folder: str) -> str:
    """Return the macro metrics of every cell as a LaTeX table (booktabs), the study's disclosures below it."""
    at = study_tables.update_results(folder)
    axes = cell_axes(load_plan(folder))
    table = study_tables.overview_table(load_cells(folder, at), axes)
    texts = ((format_metric(v) if isinstance(v, float) else str(v) for v in row) for row in table.to_numpy())
    columns = "l" * len(axes) + "l" + "r" * (table.shape[1] - len(axes) - 1)
    note = _tex(study_tables.source(folder, at).plain_note.replace(" · ", "; "))
    lines = [
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(_tex, table)) + r" \\",
        r"\midrule",
        *(" & ".join(map(_tex, row)) + r" \\" for row in texts),
        r"\bottomrule",
        r"\end{tabular}",
        rf"\par\smallskip{{\footnotesize {note}.\par}}",
        f"% {_tex(Path(folder).name)}",
    ]
    return "\n".join(lines) + "\n"


def _tex(text: str) -> str:
    signs: dict[str, str | int | None] = {sign: f"\\{sign}" for sign in "&%$#_{}"}
    signs |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return text.translate(str.maketrans(signs | {"–": "--", "−": "$-$", "∞": r"$\infty$"}))
