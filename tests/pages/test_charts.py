"""Charts show the numbers of their frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from ctbench_core import figures
from ctbench_core.formatting import format_cohort, format_metric
from ctbench_core.inference import TWO_SEEDS
from ctbench_core.runs import History, history_frame, thin
from ctbench_ui.alignment import alignment_charts
from ctbench_ui.shared import COLOURS, DASHES, FINDINGS, ago, charts, duration, exports, finding_style
from ctbench_ui.studies import study_charts, study_tables


def _traces(chart: go.Figure) -> dict[str, object]:
    return {trace.name: trace for trace in chart.data if trace.name}


def test_every_finding_has_its_own_style_in_any_selection() -> None:
    styles = {finding_style(label, FINDINGS) for label in FINDINGS}
    assert len(styles) == len(FINDINGS) == len(COLOURS) * len(DASHES)
    assert finding_style("Lung opacity", ["Lung opacity"]) == finding_style("Lung opacity", FINDINGS)


def test_a_bin_at_0_is_drawn_as_a_whole_dot() -> None:
    bins = pd.DataFrame({"stage": ["before"], "forecast": [0.0], "observed": [0.0], "rows": [30]})
    dots = _traces(charts.reliability(bins, "Lung nodule"))["before"]
    assert dots.cliponaxis is False


def test_curves_have_dashes_where_a_colour_is_used_again() -> None:
    points = pd.DataFrame([{"label": label, "curve": "pr", "threshold": 0.5, "x": 0.1, "y": 0.4} for label in FINDINGS])
    known = pd.DataFrame({"finding": FINDINGS, "auprc": 0.5, "auroc": 0.5, "prevalence": 0.1})
    for chosen, dashes in ((FINDINGS[4:10], {"solid"}), (FINDINGS, set(DASHES))):
        chart = figures.precision_recall(points, known, chosen, FINDINGS)
        lines = [trace.line for trace in chart.data if trace.name]
        assert {line.dash for line in lines} == dashes
        assert len({(line.color, line.dash) for line in lines}) == len(chosen)


def test_curves_carry_their_prevalence_and_operating_point() -> None:
    known = pd.DataFrame(
        {"finding": ["a"], "auprc": 0.5, "auroc": 0.5, "prevalence": 0.25, "precision": 0.4, "recall": 0.6}
    ).assign(specificity=0.7)
    none = pd.DataFrame(columns=["label", "curve", "threshold", "x", "y"])
    pr = figures.precision_recall(none, known, ["a"], ["a"]).data
    assert list(pr[-2].y) == [0.25, 0.25]
    assert (list(pr[-1].x), list(pr[-1].y)) == ([0.6], [0.4])
    roc = figures.receiver_operating(none, known, ["a"], ["a"]).data
    assert (list(roc[-1].x), list(roc[-1].y)) == (pytest.approx([0.3]), [0.6])
    undefined = known.assign(precision=np.nan)
    assert len(figures.precision_recall(none, undefined, ["a"], ["a"]).data) == len(pr) - 1


def test_curves_mark_the_threshold_that_validation_chose() -> None:
    known = pd.DataFrame(
        {"finding": ["a", "b"], "auprc": 0.5, "auroc": 0.5, "prevalence": 0.25, "precision": 0.4, "recall": 0.6}
    ).assign(specificity=0.7, threshold_tuned=[0.31, 0.2])
    known = known.assign(precision_tuned=[0.3, np.nan], recall_tuned=0.8, specificity_tuned=0.45)
    none = pd.DataFrame(columns=["label", "curve", "threshold", "x", "y"])
    dots, diamonds = figures.precision_recall(none, known, ["b", "a"], ["a", "b"]).data[-2:]
    assert list(dots.text) == ["b<br>threshold .500", "a<br>threshold .500"]
    # b has no precision there, so only a is marked.
    assert (diamonds.marker.symbol, list(diamonds.x), list(diamonds.y)) == ("diamond", [0.8], [0.3])
    assert list(diamonds.text) == ["a<br>threshold .310, chosen on validation"]
    assert list(diamonds.marker.color) == [finding_style("a", ["a", "b"])[0]]
    roc = figures.receiver_operating(none, known, ["a", "b"], ["a", "b"]).data[-1]
    assert list(roc.x) == pytest.approx([0.55, 0.55])


def test_the_axes_of_curves_keep_their_height_whatever_the_legend() -> None:
    known = pd.DataFrame({"finding": FINDINGS, "auprc": 0.5, "auroc": 0.5, "prevalence": 0.1})
    none = pd.DataFrame(columns=["label", "curve", "threshold", "x", "y"])
    few, many = (figures.precision_recall(none, known, FINDINGS[:n], FINDINGS).layout for n in (2, 18))
    axes = [layout.height - layout.margin.t - layout.margin.b for layout in (few, many)]
    assert axes[0] == axes[1]
    assert (few.margin.t, few.margin.b) == (8 + 2 * 19, 52)  # two rows above the axes
    assert (many.margin.t, many.margin.b) == (8, 52 + 18 * 19)  # many would hide them
    assert (few.legend.y, many.legend.y) == (1, 0)
    assert not many.margin.autoexpand


def test_small_multiples_show_every_finding() -> None:
    points = pd.DataFrame(
        [{"label": label, "curve": "roc", "threshold": 0.5, "x": 0.1, "y": 0.4} for label in FINDINGS]
    )
    known = pd.DataFrame({"finding": FINDINGS, "auprc": 0.5, "auroc": 0.75, "prevalence": 0.1})
    chart = figures.small_multiples(points, known, FINDINGS, "roc")
    titles = [text for trace in chart.data if trace.mode == "text" for text in trace.text if ".750" in text]
    assert len(titles) == len(FINDINGS)
    (line,) = (trace for trace in chart.data if trace.customdata is not None)
    drawn = np.asarray(line.customdata)[~np.isnan(np.asarray(line.x))]
    assert drawn == pytest.approx(np.tile([0.1, 0.4, 0.5], (len(FINDINGS), 1)))
    places = {(float(x), float(y)) for x, y in zip(line.x, line.y) if not np.isnan(x)}
    assert len(places) == len(FINDINGS)


def test_whiskers_reach_the_bounds() -> None:
    frame = pd.DataFrame(
        {"finding": ["a"], "prevalence": [0.1], "auroc": [0.8], "auroc_ci_lower": [0.7], "auroc_ci_upper": [0.85]}
    )
    dots = _traces(figures.finding_dots(frame, "auroc"))["AUROC"]
    assert list(dots.error_x.array) == pytest.approx([0.05])
    assert list(dots.error_x.arrayminus) == pytest.approx([0.1])


def test_the_histogram_shows_shares_and_the_threshold() -> None:
    frame = pd.DataFrame({"bin_left": [0, 0.5], "bin_right": [0.5, 1], "positives": [1, 3], "negatives": [8, 2]})
    chart = charts.score_histogram(frame, 0.3)
    shares = {trace.name: list(trace.y) for trace in chart.data}
    assert shares == {"negatives (10)": [0.8, 0.2], "positives (4)": [0.25, 0.75]}
    assert chart.layout.shapes[0].x0 == 0.3


def test_unknown_findings_take_their_place_in_the_data_set() -> None:
    assert finding_style("Nodule 2", ["Nodule 1", "Nodule 2"]) == (COLOURS[1], DASHES[0])


def test_dots_leave_out_what_is_undefined_and_put_the_best_first() -> None:
    frame = pd.DataFrame({"finding": ["a", "b", "c"], "prevalence": [0.1, 0.2, 0.3], "auprc": [0.4, np.nan, 0.9]})
    chart = _traces(figures.finding_dots(frame))
    assert list(chart["AUPRC"].y) == ["c", "a"]
    assert list(chart["prevalence"].x) == [0.3, 0.1]


def test_curves_carry_the_points_of_their_finding() -> None:
    points = pd.DataFrame(
        {
            "label": ["a", "a", "b"],
            "curve": ["pr", "roc", "pr"],
            "threshold": [0.5, 0.5, 0.5],
            "x": [0.1, 0.2, 0.3],
            "y": [0.4, 0.5, 0.6],
        }
    )
    known = pd.DataFrame({"finding": ["a", "b"], "auprc": [0.7, np.nan], "auroc": [0.8, 0.9], "prevalence": [0.1, 0.1]})
    pr = _traces(figures.precision_recall(points, known, ["a", "b"], ["a", "b"]))
    assert list(pr["a .700"].y) == pytest.approx([0.4])
    assert list(pr["b –"].x) == pytest.approx([0.3])
    roc = _traces(figures.receiver_operating(points, known, ["a"], ["a", "b"]))
    assert list(roc["a .800"].x) == pytest.approx([0.2])


def test_lines_of_equal_f1_are_so() -> None:
    chart = figures.precision_recall(pd.DataFrame(columns=["label", "curve"]), pd.DataFrame({"finding": []}), [], [])
    recall, precision = np.asarray(chart.data[0].x), np.asarray(chart.data[0].y)
    ends = np.flatnonzero(np.isnan(recall))
    assert len(ends) == 4
    f1 = 2 * recall * precision / (recall + precision)
    for part, level in zip(np.split(f1, ends + 1), (0.2, 0.4, 0.6, 0.8)):
        assert part[:-1] == pytest.approx(level)
    assert [text.strip() for text in chart.data[1].text] == ["F1 = .2", "F1 = .4", "F1 = .6", "F1 = .8"]
    assert 1 < chart.layout.xaxis.range[1] < 1.05 and set(chart.data[1].x) == {chart.layout.xaxis.range[1]}  # beside


def test_recall_shows_both_directions_with_chance() -> None:
    frame = pd.DataFrame({"direction": ["v_to_t", "t_to_v"], "k": [1, 1], "recall": [0.3, 0.4], "chance": [0.1, 0.1]})
    traces = _traces(figures.recall_at_k(frame))
    assert list(traces) == ["volume → report", "report → volume", "chance"], "one line where chance is the same"
    assert list(traces["volume → report"].y) == [0.3]
    assert list(traces["chance"].y) == [0.1]
    traces = _traces(figures.recall_at_k(frame.assign(chance=[0.1, 0.2])))
    assert list(traces["volume → report, chance"].y) == [0.1]
    assert list(traces["report → volume, chance"].y) == [0.2]


def test_bands_lie_below_every_line() -> None:
    bounds = {"lower": 0.2, "upper": 0.6, "lo": 0.2, "hi": 0.6, "mean": 0.4, "cell": "{}", "text": ""}
    frame = pd.DataFrame(
        {"direction": 2 * ["v_to_t"] + 2 * ["t_to_v"], "k": [1, 5, 1, 5], "recall": 0.3, "chance": 0.1}
    )
    frame = frame.assign(line=frame["direction"], n=frame["k"], **bounds)
    for chart in (
        figures.recall_at_k(frame),
        study_charts.scaling_curves(frame, {}, "auprc", "patients"),
        alignment_charts.side_by_side({"a": frame, "b": frame}, "v_to_t"),
    ):
        assert [trace.fill for trace in chart.data[:2]] == ["toself", "toself"]
        assert {trace.fill for trace in chart.data[2:]} == {None}


def test_the_rows_of_a_forest_have_lines_that_lead_to_their_names() -> None:
    rows = pd.DataFrame({"a": "b", "label": ["Mass"], "delta": 0.1, "lo": 0.0, "hi": 0.2, "p_adjusted": 0.5})
    assert figures.forest(rows, ["Mass"]).layout.yaxis.showgrid is not False


def test_the_lift_of_one_direction_does_not_hide_that_of_the_other() -> None:
    rows = [
        {"direction": way, "finding": "Mass", "prevalence": 0.1, "precision_at_5": 0.3, "lift_at_5": 3.0}
        for way in ("v_to_t", "t_to_v")
    ]
    chart = alignment_charts.finding_lift(pd.DataFrame(rows), 5)
    assert chart.layout.scattermode == "group"
    assert [(trace.orientation, trace.offsetgroup) for trace in chart.data] == [("h", "v_to_t"), ("h", "t_to_v")]


def test_a_histogram_without_a_mean_is_drawn() -> None:
    frame = pd.DataFrame({"pairs": ["paired"], "bin_left": [0.0], "bin_right": [0.1], "density": [10.0]})
    assert "paired, mean –" in _traces(figures.similarity_histogram(frame, {"paired": None}))


def test_a_long_history_is_thinned_and_keeps_its_ends_and_peaks() -> None:
    epochs = np.arange(1, 5001)
    losses = np.cos(epochs / 500)
    losses[[1234, 4321]] = 9.0, -9.0
    frame = thin(pd.DataFrame({"epoch": epochs, "train_loss": losses, "val_loss": np.nan}))
    assert len(frame) <= 1001  # some 50 kB a look
    assert frame["epoch"].is_unique
    assert frame["epoch"].iloc[[0, -1]].tolist() == [1, 5000]
    assert frame["train_loss"].agg(["max", "min"]).tolist() == [9.0, -9.0]
    drawn = np.interp(epochs, frame["epoch"], frame["train_loss"])
    assert np.abs(drawn - losses)[epochs < 1200].max() < 0.03
    assert frame["val_loss"].isna().all()


def test_a_short_history_is_drawn_as_it_is() -> None:
    history = History()
    history.add(b'{"epoch": 1, "train_loss": 0.5, "val_metrics": {"auprc": 0.25}}', 1)
    frame = history_frame(history.snapshot())
    assert frame.loc[0, ["epoch", "train_loss", "auprc"]].tolist() == [1, 0.5, 0.25]
    assert thin(frame) is frame


@pytest.mark.parametrize(
    ("value", "shown"), [(0.8421, ".842"), (-0.05, "−.050"), (1.0, "1.000"), (float("nan"), "–"), (None, "–")]
)
def test_metrics_read_like_a_papers(value: float | None, shown: str) -> None:
    assert format_metric(value) == shown


def test_times_and_counts_are_readable() -> None:
    assert duration(41) == "0:41"
    assert duration(7390) == "2:03:10"
    assert ago("no time") == "just now"
    assert (
        format_cohort({"volumes": 3039, "exams": 1564, "patients": 1304})
        == "3,039 volumes / 1,564 exams / 1,304 patients"
    )


def test_every_cell_of_a_heat_map_is_written_once_in_a_readable_colour() -> None:
    values = pd.DataFrame({"first": [0.2, 0.9], "second": [0.62, np.nan]}, index=["a", "b"])
    marked = pd.DataFrame(False, index=values.index, columns=values.columns)
    marked.loc["b", "first"] = True
    layers = {
        layer.textfont.color: np.asarray(layer.text) for layer in study_charts.heat_map(values, marked, "auprc").data
    }
    np.testing.assert_array_equal(layers["#000"], [[".200", ".620"], ["", "–"]])
    np.testing.assert_array_equal(layers["#fff"], [["", ""], [".900 ★", ""]])


def test_tiny_p_values_are_written_as_such() -> None:
    frame = pd.DataFrame({"p": [0.0001, 0.0123, np.nan], "p_adjusted": [0.0004, 0.2, 1.0], "precision": 0.00001})
    shown = exports.styled(frame)
    pd.testing.assert_frame_equal(shown.data, frame)  # still sorted as numbers
    lines = shown.hide(axis="index").to_string(delimiter="|").splitlines()[1:]
    assert [line.split("|")[0] for line in lines] == ["< .001", ".012", "–"]
    assert [line.split("|")[1] for line in lines] == ["< .001", ".200", "1.000"]
    assert [line.split("|")[2] for line in lines] == [".000"] * 3
    rows = pd.DataFrame({"a": "x", "label": ["b"], "delta": 0.2, "lo": 0.1, "hi": 0.3, "p_adjusted": 0.0002})
    (dot,) = (trace for trace in figures.forest(rows, ["b"]).data if trace.customdata is not None)
    assert dot.customdata[0][3] == "< .001"
    assert "%{customdata[3]}<" in dot.hovertemplate


def test_bottlenecks_are_named_as_they_are_read() -> None:
    table = pd.DataFrame(
        {"encoder": ["e"], "finding": ["b"], "mean": 0.4, "lo": 0.3, "hi": 0.5, "sd": 0.01, "gain": np.nan}
    ).assign(patient_error=0.02, seed_error=0.01, limited_by="patients")
    shown = study_tables.bottleneck_table(table)
    assert list(shown)[:4] == ["Encoder", "Finding", "Mean", "95 % CI"]
    assert not any("_" in name for name in shown)
    assert list(shown["95 % CI"]) == ["[.300, .500]"]


def test_the_overview_of_two_seeds_has_a_range_and_no_column_of_intervals() -> None:
    cell = {"encoder": "e", "metric": "auprc", "finding": "", "findings": 3, "mean": 0.5, "std": 0.1, "marks": ""}
    cell |= {"patient_error": 0.02, "seed_error": 0.01, "n": 2, "n_patients": 20, "range_lo": 0.4, "range_hi": 0.6}
    two = pd.DataFrame([cell | {"lo": np.nan, "hi": np.nan, "reason": TWO_SEEDS}])
    shown = study_tables.overview_table(two, ["encoder"])
    assert "95 % CI" not in shown
    assert list(shown["Range of 2 seeds"]) == ["range .400 to .600"]
    three = study_tables.overview_table(two.assign(lo=0.3, hi=0.7, reason=""), ["encoder"])
    assert list(three["95 % CI"]) == ["[.300, .700]"]


def test_the_scale_of_a_heat_map_leaves_out_the_zero_before_the_point() -> None:
    values = pd.DataFrame([[0.2, 0.8]], index=["a"], columns=["x", "y"])
    cells, *_ = study_charts.heat_map(values, values > 1, "auprc").select_traces({"type": "heatmap"})
    assert cells.colorbar.labelalias["0.8"] == ".8"


def test_every_axis_leaves_out_the_zero_before_the_point() -> None:
    frame = pd.DataFrame({"epoch": [1, 2], "train_loss": 0.5, "val_loss": 0.6, "auprc": 0.3})
    rows = pd.DataFrame({"a": "x", "label": ["b"], "delta": 0.2, "lo": 0.1, "hi": 0.3, "p_adjusted": 0.0002})
    none = pd.DataFrame(columns=["label", "curve", "threshold", "x", "y"])
    known = pd.DataFrame({"finding": FINDINGS, "auprc": 0.5, "auroc": 0.5, "prevalence": 0.1})
    charts_ = [
        figures.epoch_curves(frame),
        figures.forest(rows, ["b"]),
        figures.precision_recall(none, known, FINDINGS[:1], FINDINGS),
    ]
    for chart in charts_:
        for axis in (*chart.select_xaxes(), *chart.select_yaxes()):
            assert {tick: axis.labelalias[tick] for tick in ("0.5", "−0.05", "+0.10", "+0.00", "0.0", "1.0")} == {
                "0.5": ".5",
                "−0.05": "−.05",
                "+0.10": "+.10",
                "+0.00": "0",
                "0.0": "0",
                "1.0": "1",
            }
    assert len([*charts_[0].select_yaxes()]) == 2


@pytest.mark.parametrize(
    ("name", "columns", "margins"),
    [
        ("zscore · linear · seed {}", 2, (8 + 6 * 19, 52)),
        ("budget 60 · zscore · linear · seed {}", 1, (8, 52 + 12 * 19)),
    ],
)
def test_short_names_of_many_runs_stand_in_two_columns_above_their_curves(
    name: str, columns: int, margins: tuple[int, int]
) -> None:
    names = [name.format(seed) for seed in "abcdefghijkl"]
    lines = pd.DataFrame([{"run": run, "epoch": epoch, "value": 0.1} for run in names for epoch in (1, 2)])
    layout = figures.learning_curves(lines, lines.tail(1), {run: at for at, run in enumerate(names)}, "AUPRC").layout
    assert (layout.margin.t, layout.margin.b) == margins
    assert layout.legend.orientation == ("h" if columns == 2 else None)
    assert layout.legend.y == (1 if columns == 2 else 0)


@pytest.mark.parametrize("count", [3, 12])
def test_a_legend_that_the_page_draws_once_is_in_every_picture(count: int) -> None:
    names = [f"{place} of long names, so that none is in a column" for place in range(count)]
    lines = pd.DataFrame([{"run": run, "epoch": epoch, "value": 0.1} for run in names for epoch in (1, 2)])
    places = {run: at for at, run in enumerate(names)}
    whole = figures.learning_curves(lines, lines.tail(1), places, "AUPRC", 220).layout
    chart = figures.keep_legend_for_pictures(figures.learning_curves(lines, lines.tail(1), places, "AUPRC", 220))
    assert (chart.layout.showlegend, chart.layout.height) == (False, 8 + 220 + 52)
    figures.add_note_to_pictures(chart, "a note")
    picture = chart.layout.meta["picture"]
    assert picture["showlegend"]
    assert picture["height"] - picture["top"] - picture["bottom"] == 220
    assert (picture["height"] - whole.height, picture["top"] - whole.margin.t) == (20, 20)  # a line of the note
    assert picture["bottom"] == whole.margin.b


def test_a_long_name_is_shown_in_lines_that_a_phone_shows_whole() -> None:
    def draw(name: str) -> go.Figure:
        line = pd.DataFrame({"run": name, "epoch": [1, 2], "value": [0.1, 0.2]})
        return figures.learning_curves(line, line.tail(1), {name: 0}, "AUPRC")

    short, long = draw("mlp · 128"), draw("linear · visual · seed 3 · budget all, scaling none, max epochs 60 & more")
    assert short.data[0].name == "mlp · 128"
    assert long.data[0].name == "linear · visual · seed 3 · budget all, scaling<br>none, max epochs 60 &amp; more"
    assert long.layout.height - short.layout.height == 19  # a line
