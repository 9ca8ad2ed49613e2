"""The metrics that the card of a run begins with: validation at its best epoch, and each test set."""

from __future__ import annotations

import streamlit as st

from ctbench_core.declared import METRICS, compared_metrics
from ctbench_core.formatting import UNDEFINED, format_interval, format_metric
from ctbench_core.runs import Run, is_stale, read_metrics
from ctbench_ui.shared import as_text, test_marks

_SHOWN = compared_metrics()
_MARKS = {
    "[": "In brackets: 95 % CI.",
    "⚠": "⚠ Shares patients with training.",
    "⟳": "⟳ Of an earlier epoch: evaluate it again.",
}


def draw(run: Run) -> None:
    """Draw the macro means of a run, those on test with their 95 % intervals."""
    best = run.best()
    values = best.get("val_metrics", {})
    columns = {"Validation": [format_metric(values.get(METRICS[name].macro)) for name in _SHOWN], **_tests(run)}
    rows = [["Metric", *columns], [":--"] * (1 + len(columns))]
    rows += [[METRICS[name].title, *cells] for name, cells in zip(_SHOWN, zip(*columns.values()))]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    epoch = f"Best epoch {best['epoch']:,}." if best else "No finished epoch."
    with st.container(key="card-metrics", gap="xsmall"):
        st.markdown(text)
        st.caption(" ".join([epoch, *(meaning for mark, meaning in _MARKS.items() if mark in text)]))


def _tests(run: Run) -> dict[str, list[str]]:
    """Return the cells of each test set by its heading, or that none was evaluated."""
    columns, best_epoch = {}, run.best().get("epoch")
    for name in run.evaluations():
        if (metrics := read_metrics(run.paths.evaluation(name).metrics)) is None:
            continue
        mark = test_marks(metrics.leak_patients, is_stale(metrics.best_epoch, best_epoch))
        means = [metrics.macro.get(METRICS[metric].macro) for metric in _SHOWN]
        texts = [UNDEFINED if one is None else format_interval(one.value, one.interval.to_list()) for one in means]
        title = "Test" if name == "test" else f"Test {as_text(name)}"
        columns[title + mark] = [text.replace(" ", "\N{NO-BREAK SPACE}") for text in texts]
    return columns or {"Test": ["not evaluated"] + [UNDEFINED] * (len(_SHOWN) - 1)}
