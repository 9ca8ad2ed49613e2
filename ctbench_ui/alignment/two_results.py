"""Two alignment results side by side: recall of both directions, and the metrics that both have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core import figures
from ctbench_core.declared import CROSS_DIRECTIONS, INSTANCE
from ctbench_core.formatting import format_interval
from ctbench_core.runs import Disclosures, read_alignment
from ctbench_ui.alignment import alignment_charts, intervals
from ctbench_ui.shared import cache, exports
from ctbench_ui.shared.exports import Source, disclosed_source
from ctbench_ui.shared.pictures import draw_plot

_METRICS = ("recall_at_1", "recall_at_5", "recall_at_10", "recall_at_50", "mrr", "map")
# Columns of the file, with their headings on the screen.
_HEADINGS = {"figure": "Metric", "this result": "This result", "the other": "Other result"}


def tab(
    folder: Path,
    source: Source,
    results: dict[str, str],
    metrics: dict[str, Any],
    source_of: Callable[[Path, str, dict[str, Any]], Source],
) -> None:
    """Draw the choice of another result, and both.

    Args:
        results: titles of all results, by ``<run directory>/<name>``.
        source_of: returns the source of the other one, from its run directory, name and metrics.
    """
    others = {key: title for key, title in results.items() if _folder(key) != folder}
    if not others:
        st.info("There is no other result yet. Measure another encoder, split or cohort, then compare it here.")
        return
    key = st.selectbox("Compare with", list(others), format_func=others.__getitem__, key="beside.other")
    other = _folder(key)
    other_metrics = read_alignment(other) or {}
    if other_metrics["samples_analyzed"] != metrics["samples_analyzed"]:
        st.warning(
            f"{metrics['samples_analyzed']:,} and {other_metrics['samples_analyzed']:,} pairs: recall at K falls with "
            "gallery size. Compare the lift over chance.",
            icon=":material/warning:",
        )
    both = _common_source(source, source_of(other.parents[1], other.name, other_metrics))
    recalls = {"this result": _recall(folder), "other result": _recall(other)}
    for way, side in zip(CROSS_DIRECTIONS, st.columns(2, gap="medium")):
        side.markdown(f"**{way.title}**")
        with side:
            chart = figures.add_note(alignment_charts.side_by_side(recalls, way.name), both.plain_note)
            alt = f"Recall at K of both results, {way.title}"
            draw_plot(chart, f"beside-{way.name}", f"{both.stem}-beside-{way.name}", alt)
    shown = {
        f"{way.name}_{name}": f"{way.title}, {name.replace('_at_', ' @')}"
        for way in CROSS_DIRECTIONS
        for name in _METRICS
        if f"{way.name}_{name}" in metrics and f"{way.name}_{name}" in other_metrics
    }
    frame = pd.DataFrame(
        {
            "figure": title,
            "this result": _with_interval(metrics, name),
            "the other": _with_interval(other_metrics, name),
        }
        for name, title in shown.items()
    )
    st.dataframe(frame, hide_index=True, column_config=_HEADINGS, key="beside-table", alt="Metrics of both results")
    st.caption("  \n".join(_captions({"This result": metrics, "Other result": other_metrics}, shown)))
    exports.download("Download both as CSV", frame, f"{source.stem}-beside.csv", "beside-csv", both)


def _captions(results: dict[str, dict[str, Any]], shown: dict[str, str]) -> list[str]:
    """Return the rules of both results' intervals, once where they are the same, and why some are missing."""
    rules = {title: intervals.rule_of(metrics) for title, metrics in results.items()}
    same = len(set(rules.values())) == 1
    lines = ["Intervals are of each result, not of their difference."]
    lines += [next(iter(rules.values()))] if same else [f"{title}: {rule}" for title, rule in rules.items()]
    return lines + [f"{title}: {note}" for title, one in results.items() for note in intervals.notes(one, shown)]


def _common_source(one: Source, other: Source) -> Source:
    """Return the source of a table of two results, with the disclosures of both."""
    disclosures = [source.disclosures for source in (one, other) if source.disclosures]
    both = Disclosures(
        set_name=" and ".join(dict.fromkeys(each.set_name for each in disclosures)),
        no_ledger_reason=disclosures[0].no_ledger_reason,
        leak_patients=None,
        label_origins=sorted({origin for each in disclosures for origin in each.label_origins}),
        warning="; ".join(dict.fromkeys(each.warning for each in disclosures if each.warning)),
    )
    return disclosed_source(one.title, both, one.stem)


def _folder(key: str) -> Path:
    run_dir, _, name = key.rpartition("/")
    return Path(run_dir) / "alignment" / name


def _recall(folder: Path) -> pd.DataFrame:
    frame = cache.load_table(folder / "recall.csv")
    return frame[frame["truth"] == INSTANCE]


def _with_interval(metrics: dict[str, Any], name: str) -> str:
    return format_interval(metrics[name], metrics.get("intervals", {}).get(name))
