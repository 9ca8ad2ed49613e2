"""Two alignment results side by side: recall of both directions, and the paired difference of each metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.compare import compare_alignments
from ctbench_core.declared import CROSS_DIRECTIONS, DIRECTIONS, INSTANCE, RetrievalDirection, metric_title
from ctbench_core.errors import InputError
from ctbench_core.formatting import format_interval, format_metric, plural
from ctbench_core.runs import Disclosures, read_alignment
from ctbench_ui.alignment import alignment_charts, intervals, store
from ctbench_ui.frame import address
from ctbench_ui.shared import as_text, cache, exports
from ctbench_ui.shared.exports import Source, disclosed_source
from ctbench_ui.shared.pictures import draw_plot

OTHER = "other"  # in the address
_PLACES = ("First", "Second")
_WIDTHS = (88, 58, 62, 148)  # of the columns, in pixels: together those of a phone
_DIFFERENCE = "Paired differences, First − Second, over {0:,} queries of {1} that both have scored. 95 %: leaving out one patient at a time, t."


def tab(
    folder: Path,
    source: Source,
    results: Mapping[str, Mapping[str, str]],
    metrics: dict[str, Any],
    source_of: Callable[[Path, str, dict[str, Any]], Source],
) -> None:
    """Draw the choice of another result, and both.

    Args:
        results: what each result is, part by part, by ``<run directory>/<name>``.
        source_of: returns the source of the other one, from its run directory, name and metrics.
    """
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        key = _pick_other(folder, results)
        other = _folder(key) if key else folder
        truth = _pick_truth(folder, other) if key else INSTANCE
    if key is None:
        st.info("There is no other result yet. Measure another encoder, split or cohort, then compare it here.")
        return
    other_metrics = read_alignment(other) or {}
    parts = [next(parts for one, parts in results.items() if _folder(one) == place) for place in (folder, other)]
    names = name_by_difference(*parts)
    _warn(metrics, other_metrics, parts, truth)
    both = _common_source(source, source_of(other.parents[1], other.name, other_metrics))
    if not _are_on_page(source, both):
        st.caption(both.note)
    titles = [f"{place}: {name}" for place, name in zip(_PLACES, names)]
    recalls = {title: _recall(place, truth) for title, place in zip(titles, (folder, other))}
    frame, reason = _compare(cache.stamp(folder / "metrics.json"), cache.stamp(other / "metrics.json"), truth)
    if reason:
        st.info(as_text(f"No differences. {reason}"), icon=":material/info:")
    for way, side in zip(CROSS_DIRECTIONS, st.columns(2, gap="medium")):
        with side:
            st.markdown(f"**{way.title}**")
            chart = exports.noted(alignment_charts.side_by_side(recalls, way.name), both)
            alt = f"Recall at K of both results, {way.title}"
            draw_plot(chart, f"beside-{way.name}", f"{both.stem}-beside-{way.name}", alt)
            _difference_table(frame, way)
    if len(frame):
        _explain_differences(frame, both)
    st.caption("  \n".join(_rules(dict(zip(names, (metrics, other_metrics))))))


def _pick_other(folder: Path, results: Mapping[str, Mapping[str, str]]) -> str | None:
    """Draw the choice of the other result, whose run the address names; None where there is none."""
    others = {key: " · ".join(parts.values()) for key, parts in results.items() if _folder(key) != folder}
    if not others:
        return None
    runs = {Path(key).parent.name: key for key in reversed(others)}
    if (linked := st.query_params.get(OTHER)) in runs:
        st.session_state["two.other"] = runs[str(linked)]
    if st.session_state.get("two.other") not in others:
        st.session_state["two.other"] = next(iter(others))

    def write() -> None:
        address.write_ids(OTHER, [Path(st.session_state["two.other"]).parent.name])

    return st.selectbox("Compare with", list(others), format_func=others.__getitem__, key="two.other", on_change=write)


def _pick_truth(folder: Path, other: Path) -> str:
    """Draw the choice of what is a hit, of those that both results have."""
    truths = [truth for truth in store.TRUTHS if all(truth in _truths(place) for place in (folder, other))]
    titles = store.TRUTHS.__getitem__
    options = address.bound("two.truth", truths, titles)
    return (
        st.segmented_control("Hit", truths, format_func=titles, default=truths[0], required=True, **options) or INSTANCE
    )


def name_by_difference(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[str, str]:
    """Return names of two results: the parts in which they differ."""
    shown = [part for part in one if one[part] != other[part]]
    first, second = (" · ".join(parts[part] for part in shown) for parts in (one, other))
    return first, second


def _warn(metrics: Mapping[str, Any], other: Mapping[str, Any], parts: list[Mapping[str, str]], truth: str) -> None:
    sizes = [one["samples_analyzed"] for one in (metrics, other)]
    if sizes[0] != sizes[1]:
        text = "recall at K falls with gallery size. Compare the lift over chance."
        st.warning(f"{sizes[0]:,} and {sizes[1]:,} pairs: {text}", icon=":material/warning:")
    if truth == INSTANCE and parts[0]["hit"] != parts[1]["hit"]:
        hits = " and ".join(f"“{part['hit'].removeprefix('hit: ')}”" for part in parts)
        st.warning(f"Hits are defined differently: {as_text(hits)}.", icon=":material/warning:")


def _difference_table(frame: pd.DataFrame, way: RetrievalDirection) -> None:
    """Draw the metrics of both in one direction and their differences: a table as narrow as a phone."""
    rows = frame[frame["direction"] == way.name] if len(frame) else frame
    if not len(rows):
        return
    shown = pd.DataFrame(
        {
            "Metric": [_title(name) for name in rows["metric"]],
            "First": [format_metric(value) for value in rows["first"]],
            "Second": [format_metric(value) for value in rows["second"]],
            "Difference [95 % CI]": [
                format_interval(delta, ends, signed=True)
                for delta, *ends in rows[["delta", "lower", "upper"]].itertuples(index=False)
            ],
        }
    )
    st.dataframe(
        shown,
        hide_index=True,
        column_config={name: st.column_config.TextColumn(width=width) for name, width in zip(shown, _WIDTHS)},
        height=38 + 35 * len(shown),
        key=f"beside-table-{way.name}",
        alt=f"Metrics of both results and their differences, {way.title}",
    )


def _explain_differences(frame: pd.DataFrame, source: Source) -> None:
    """Draw what the differences are of, which have no interval and why, and their file."""
    first = frame.iloc[0]
    st.caption(_DIFFERENCE.format(int(first["queries"]), plural(int(first["patients"]), "patient")))
    for text, rows in frame[frame["no_interval"] != ""].groupby("no_interval", sort=False):
        titles = [f"{_title(row.metric)} {DIRECTIONS[str(row.direction)].mark}" for row in rows.itertuples()]
        st.caption(as_text(f"No interval of {', '.join(titles)}: {text}."))
    exports.download("Download differences as CSV", frame, f"{source.stem}-differences.csv", "beside-csv", source)


@cache.remember(max_entries=16)
def _compare(first: cache.Stamp, second: cache.Stamp, truth: str) -> tuple[pd.DataFrame, str]:
    """Return the differences of two results, by their stored metrics, or why there are none."""
    try:
        return compare_alignments(Path(first[0]).parent, Path(second[0]).parent, truth), ""
    except InputError as error:
        return pd.DataFrame(), str(error)


def _title(name: str) -> str:
    return f"Recall@{name.removeprefix('recall_at_')}" if name.startswith("recall") else metric_title(name)


def _rules(results: Mapping[str, dict[str, Any]]) -> list[str]:
    """Return the rules of the bands of both results, once where they are the same."""
    rules = {title: intervals.rule_of(metrics) for title, metrics in results.items()}
    if len(set(rules.values())) == 1:
        return [f"Bands: {next(iter(rules.values()))}"]
    return [f"Bands of {as_text(title)}: {rule}" for title, rule in rules.items()]


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


def _are_on_page(one: Source, both: Source) -> bool:
    """Whether the line on top of the page, of the first result, already says what is to disclose of both."""
    said, joint = one.disclosures, both.disclosures
    if said is None or joint is None:
        return False
    return (sorted(said.label_origins), said.warning) == (sorted(joint.label_origins), joint.warning)


def _folder(key: str) -> Path:
    run_dir, _, name = key.rpartition("/")
    return Path(run_dir) / "alignment" / name


def _truths(folder: Path) -> set[str]:
    return set(cache.load_table(folder / "recall.csv")["truth"])


def _recall(folder: Path, truth: str) -> pd.DataFrame:
    frame = cache.load_table(folder / "recall.csv")
    return frame[frame["truth"] == truth]
