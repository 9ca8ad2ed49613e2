"""The metrics that the card of a run begins with: validation at its best epoch, and each test set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from ctbench_core.declared import METRICS
from ctbench_core.formatting import format_interval, format_metric
from ctbench_core.runs import Run, is_stale, read_metrics
from ctbench_ui.shared import as_text, test_marks

_SHOWN = ("auprc", "auroc")
_MARKS = {
    "⚠": "⚠ shares patients with training",
    "⟳": "⟳ of an earlier epoch: evaluate it again",
}


def draw(run: Run) -> None:
    """Draw the macro means of a run, those on test with their 95 % intervals."""
    rows = [_validation(run.best()), *_tests(run)]
    titles = [METRICS[name].title for name in _SHOWN]
    lines = [["", *(f"**{title}**" for title in titles)], [":--"] * (1 + len(titles)), *rows]
    st.markdown("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    text = "".join(cell for row in rows for cell in row)
    if marks := [meaning for mark, meaning in _MARKS.items() if mark in text]:
        st.caption(" · ".join(marks))


def _validation(best: Mapping[str, Any]) -> list[str]:
    title = f"Validation :gray[epoch {best['epoch']:,}]" if best else "Validation :gray[no epoch yet]"
    values = best.get("val_metrics", {})
    return [title, *(format_metric(values.get(METRICS[name].macro)) for name in _SHOWN)]


def _tests(run: Run) -> list[list[str]]:
    """Return the cells of each test set, or that there is none."""
    rows = []
    for name in run.evaluations():
        if (metrics := read_metrics(run.paths.evaluation(name).metrics)) is None:
            continue
        mark = test_marks(metrics.leak_patients, is_stale(metrics.best_epoch, run.best().get("epoch")))
        means = [metrics.macro.get(METRICS[metric].macro) for metric in _SHOWN]
        texts = ["–" if one is None else format_interval(one.value, one.interval.to_list()) for one in means]
        title = "Test" if name == "test" else f"Test {as_text(name)}"
        rows.append([title + mark, *texts])
    return rows or [["Test :gray[not evaluated]", *["–"] * len(_SHOWN)]]
