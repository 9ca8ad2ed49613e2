"""The metrics that the card of a run begins with: validation at its best epoch, and each test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from ctbench_core.declared import METRICS, compared_metrics
from ctbench_core.formatting import UNDEFINED, format_interval
from ctbench_core.runs import Run, describe_stopping, is_stale, read_metrics
from ctbench_ui.shared import as_text, test_marks

_SHOWN = compared_metrics()
_NOT_STORED, _UNDEFINED = "not stored", "undefined"
# What stands in a cell, and what it means.
_MARKS = {
    "[": "In brackets: 95 % CI.",
    _NOT_STORED: "Not stored: these results are older than this metric.",
    _UNDEFINED: "Undefined: no finding has both positives and negatives.",
    "⚠": "⚠ Shares patients with training.",
    "⟳": "⟳ Of an earlier epoch: evaluate it again.",
}


def draw(run: Run) -> None:
    """Draw the macro means of a run, those on test with their 95 % intervals."""
    best = run.best()
    values = best.get("val_metrics")
    validation = [UNDEFINED if values is None else _cell(values, METRICS[name].macro) for name in _SHOWN]
    columns = {"Validation": validation, **_tests(run)}
    rows = [["Metric", *columns], [":--"] * (1 + len(columns))]
    rows += [[METRICS[name].title, *cells] for name, cells in zip(_SHOWN, zip(*columns.values()))]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    with st.container(key="card-metrics", gap="xsmall"):
        st.markdown(text)
        st.caption(
            " ".join(
                [
                    _describe_epochs(run, best.get("epoch")),
                    *(meaning for mark, meaning in _MARKS.items() if mark in text),
                    *_no_intervals(run),
                ]
            )
        )


def _describe_epochs(run: Run, best_epoch: int | None) -> str:
    """Write which epoch the metrics are of, and what early stopping does."""
    if best_epoch is None:
        return "No finished epoch."
    stopping = describe_stopping(run.config, run.status, run.status.epoch, best_epoch)
    if run.status.state == "finished" and stopping:
        return f"{stopping[0].upper()}{stopping[1:]}."
    return f"Best epoch {best_epoch:,}{stopping and f'; {stopping}'}."


def _cell(values: Mapping[str, float | None], key: str, bounds: Sequence[float] = ()) -> str:
    """Write a metric with its interval, or why there is none."""
    if key not in values:
        return _NOT_STORED
    text = format_interval(values[key], bounds)
    return _UNDEFINED if text == UNDEFINED else text.replace(" ", "\N{NO-BREAK SPACE}")


def _no_intervals(run: Run) -> list[str]:
    """Write why test results have no interval, each reason once."""
    stored = [read_metrics(run.paths.evaluation(name).metrics) for name in run.evaluations()]
    reasons = [one.no_interval(METRICS[name].macro) for one in stored if one is not None for name in _SHOWN]
    return [f"No interval: {as_text(reason)}." for reason in dict.fromkeys(filter(None, reasons))]


def _tests(run: Run) -> dict[str, list[str]]:
    """Return the cells of each test set by its heading, or that none was evaluated."""
    columns, best_epoch = {}, run.best().get("epoch")
    for name in run.evaluations():
        if (metrics := read_metrics(run.paths.evaluation(name).metrics)) is None:
            continue
        mark = test_marks(metrics.leak_patients, is_stale(metrics.best_epoch, best_epoch))
        means = metrics.macro
        values, bounds = (
            {key: one.value for key, one in means.items()},
            {key: one.interval.to_list() for key, one in means.items()},
        )
        title = "Test" if name == "test" else f"Test {as_text(name)}"
        keys = [METRICS[metric].macro for metric in _SHOWN]
        columns[title + mark] = [_cell(values, key, bounds.get(key, ())) for key in keys]
    return columns or {"Test": ["not evaluated"] * len(_SHOWN)}
