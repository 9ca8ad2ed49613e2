from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.config import Config
from ctbench_core.formatting import format_metric
from ctbench_core.runs import alignment_disclosures
from ctbench_ui.alignment import intervals
from ctbench_ui.alignment.alignment_charts import embedding_map, lift_order
from ctbench_ui.alignment.density import measure, thin
from ctbench_ui.alignment.embedding_map import in_polygon
from ctbench_ui.alignment.result import list_stored
from ctbench_ui.alignment.two_results import name_by_difference
from tests import retrieval_case
from tests.retrieval_case import brute_metrics, write_case

Open = Callable[..., AppTest]


@pytest.fixture
def measured(places: dict[str, str], open_page: Open, align: Callable[[AppTest], AppTest]) -> AppTest:
    return align(open_page("alignment", places))


def test_every_tab_opens_on_a_stored_result(measured: AppTest, said: Callable[[AppTest], str]) -> None:
    wanted = {
        "Ranks and findings": "→: volume → report, ←: report → volume. In the order of lift →",
        "Browse": " · similarity ",
        "Map": "The first two principal components (PCA) of volumes and reports together.",
        "Compare": "There is no other result",
    }
    for tab, text in wanted.items():
        measured.session_state["alignment.tab"] = tab
        measured.run()
        assert not measured.exception, tab
        assert text in said(measured), tab


def test_the_page_shows_both_directions_of_the_chosen_truth_as_brute_force_has_them(
    open_page: Open,
    align: Callable[[AppTest], AppTest],
    tmp_path: Path,
    taken: Callable[[], dict[str, bytes]],
    said: Callable[[AppTest], str],
) -> None:
    table = write_case(tmp_path / "case")
    fields = {
        "paths.data_root": str(tmp_path / "case" / "features"),
        "paths.manifest_dir": str(tmp_path / "case" / "manifests"),
        "analysis.truth": "patient",
    }
    app = align(open_page("alignment", fields))
    assert [part.value for part in app.header] == ["Hit: same patient", "Hit: same label vector"]
    titles = {"visual to text": "volume → report", "text to visual": "report → volume"}
    for shown, truth in zip(app.dataframe, ("patient", "labels")):
        rows = shown.value.set_index("Metric")
        for direction, metrics in brute_metrics(tmp_path / "case", table, truth).items():
            for row, name in {
                "Recall@1": "recall_at_1",
                "Recall@10": "recall_at_10",
                "MRR": "mrr",
                "MAP": "map",
            }.items():
                assert rows.loc[row, titles[direction]].split()[0] == format_metric(metrics[name])
    few = "patients with a scored query 8: an interval needs 10"
    assert said(app).count(f"No interval: {few}.") == 2
    assert "volume → report · Queries: 32 of 32 scored, 8 patients" in said(app)
    assert "Intervals: 95 % over query patients, for this gallery. Means over queries: logit scale" in said(app)
    figures = pd.read_csv(io.BytesIO(taken()["figures-csv"])).set_index("figure")
    assert figures.loc["v_to_t_mrr", "no_interval"] == few
    file = pd.read_csv(io.BytesIO(taken()["recall-instance-csv"]))
    assert set(file.loc[file["truth"] == "instance", "no_interval"]) == {few}
    expected = brute_metrics(tmp_path / "case", table, "patient")
    for way, direction in (("v_to_t", "visual to text"), ("t_to_v", "text to visual")):
        (recall,) = file[(file["direction"] == way) & (file["truth"] == "instance") & (file["k"] == 5)]["recall"]
        assert recall == pytest.approx(expected[direction]["recall_at_5"], abs=1e-9)


def test_intervals_are_shown_with_their_queries_and_reasons(
    open_page: Open,
    align: Callable[[AppTest], AppTest],
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: Callable[[AppTest], str],
) -> None:
    monkeypatch.setattr(retrieval_case, "PATIENTS", 14)
    table = write_case(tmp_path / "case")
    places = {
        "paths.data_root": str(tmp_path / "case" / "features"),
        "paths.manifest_dir": str(tmp_path / "case" / "manifests"),
    }
    app = align(open_page("alignment", places))
    (path,) = store.glob("align/*/alignment/test/metrics.json")
    metrics = json.loads(path.read_text(encoding="utf-8"))
    rows = app.dataframe[0].value.set_index("Metric")
    for row, name in {"Recall@10": "recall_at_10", "MRR": "mrr", "Median rank": "median_rank"}.items():
        bounds = metrics["intervals"][f"v_to_t_{name}"]
        texts = [
            f"{bound:.1f}".removesuffix(".0") if name == "median_rank" else format_metric(bound) for bound in bounds
        ]
        assert rows.loc[row, "volume → report"].endswith(f" [{', '.join(texts)}]")
    # Patients 6 to 14 have a nodule, and so no normal volume; every other one has its normal volumes in each exam.
    app.session_state["alignment.view"] = "semantic_normal"
    app.run()
    normal = int((table[["Mass", "Nodule"]].sum(axis=1) == 0).sum())
    assert f"Queries: {normal} of {normal} scored, 5 patients" in said(app)
    assert "No interval: patients with a scored query 5: an interval needs 10." in said(app)
    older = open_page("alignment", places, {"alignment.view": "abnormal queries"})
    assert older.selectbox(key="alignment.view").value == "semantic_abnormal"
    assert "is unknown" not in said(older)


def test_where_the_numbers_come_from_is_said_once_a_page(
    places: dict[str, str],
    open_page: Open,
    align: Callable[[AppTest], AppTest],
    taken: Callable[[], dict[str, bytes]],
    said: Callable[[AppTest], str],
) -> None:
    app = align(open_page("alignment", places))
    charts = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    assert len(charts) == 4
    assert said(app).count("label origin: unknown") == 1
    assert "ledger" not in said(app)
    for chart in charts:
        assert "title" not in chart["layout"]
        picture = chart["layout"]["meta"]["picture"]
        assert "label origin: unknown" in picture["title"]["text"].replace(
            "</span><br><span style='font-weight:400'>", " "
        )
        assert picture["height"] > chart["layout"]["height"]
    assert b"label origin: unknown" in taken()["recall-instance-html"]


def test_a_result_of_an_earlier_release_says_so() -> None:
    assert intervals.rule_of({"intervals": {"v_to_t_mrr": [0.1, 0.2]}}).endswith("the rule of an earlier release.")
    metrics = {"interval_marks": {"v_to_t_mrr": "few"}, "no_interval": {"v_to_t_map": "why"}}
    assert intervals.notes(metrics, {"v_to_t_mrr": "MRR", "v_to_t_map": "MAP", "x": "X"}) == [
        "No interval of MAP: why.",
        "Intervals of MRR: few.",
    ]


def test_every_file_is_marked(
    places: dict[str, str],
    open_page: Open,
    align: Callable[[AppTest], AppTest],
    taken: Callable[[], dict[str, bytes]],
) -> None:
    """Nothing is trained, so openings and leak stay empty; the reports may hold the labels' source."""
    app = align(align(open_page("alignment", places)))
    for tab in ("Metrics", "Ranks and findings", "Browse", "Compare"):
        app.session_state["alignment.tab"] = tab
        app.run()
        assert not app.exception, tab
    files = {key: file for key, file in taken().items() if key.endswith("-csv")}
    assert {"recall-instance-csv", "ranks-csv", "figures-csv", "hubs-csv", "neighbours-csv", "beside-csv"} <= set(files)
    for key, file in files.items():
        table = pd.read_csv(io.BytesIO(file))
        assert list(table)[-4:] == ["test_openings", "leak_patients", "label_origin", "warning"], key
        assert table[["test_openings", "leak_patients"]].isna().all(axis=None), key
        assert set(table["label_origin"]) == {"unknown"}, key
        assert set(table["warning"]) == {"hits by label: labels may come from the reports themselves"}, key


def test_labels_read_by_people_bring_no_warning() -> None:
    config = Config()
    config.data.label_origin = "manual"
    assert not alignment_disclosures(config, "test", {}, by_label=True).warning
    config.data.label_origin = "report-derived"
    assert "come from the reports" in alignment_disclosures(config, "test", {}, by_label=True).warning
    assert not alignment_disclosures(config, "test", {}, by_label=False).warning


def test_browsing_goes_from_a_volume_to_a_report_and_back(measured: AppTest) -> None:
    measured.session_state["alignment.tab"] = "Browse"
    measured.run()
    before = measured.segmented_control(key="browse.way").value
    measured.button(key="browse.go.0").click().run()
    assert not measured.exception
    assert {before, measured.segmented_control(key="browse.way").value} == {"v_to_t", "t_to_v"}
    assert measured.text_input(key="browse.part").value


def test_the_rank_of_its_own_report_leads_to_the_report(measured: AppTest) -> None:
    measured.session_state["alignment.tab"] = "Browse"
    measured.run()
    volume = measured.selectbox(key="browse.query")
    name, own = volume.format_func(volume.value), measured.button(key="browse.go.own")
    assert own.label.startswith("Its own report has rank ")
    own.click().run()
    assert not measured.exception
    assert measured.segmented_control(key="browse.way").value == "t_to_v"
    assert measured.text_input(key="browse.part").value == name
    assert measured.button(key="browse.go.own").label.startswith("Its own volume has rank ")


def test_neighbours_with_one_embedding_say_how_many_share_it(measured: AppTest, store: Path) -> None:
    (file,) = store.glob("align/*/alignment/*/neighbours_v_to_t.parquet")
    near = pd.read_parquet(file)
    near["copies"] = [np.array([1, 2, 3, *copies[3:]]) for copies in near["copies"]]
    near.to_parquet(file)
    measured.session_state["alignment.tab"] = "Browse"
    cards = [text.value for text in measured.run().markdown if text.value.startswith("**") and "-badge" in text.value]
    assert all(" · similarity " in card for card in cards)
    tied = [text.value for text in measured.caption if text.value.startswith("Same embedding")]
    assert tied[:2] == ["Same embedding as 1 other report.", "Same embedding as 2 other reports."]


def test_what_all_neighbours_share_is_said_once(measured: AppTest, store: Path) -> None:
    (file,) = store.glob("align/*/alignment/*/neighbours_v_to_t.parquet")
    near = pd.read_parquet(file)
    near["copies"] = [np.full_like(copies, 2) for copies in near["copies"]]
    near.to_parquet(file)
    measured.session_state["alignment.tab"] = "Browse"
    tied = [text.value for text in measured.run().caption if "same embedding" in text.value.casefold()]
    assert tied == ["Each report below has the same embedding as 1 other report."]


@pytest.mark.parametrize("shaded", [False, True])
def test_only_points_over_shading_are_see_through(shaded: bool) -> None:
    x = np.arange(4, dtype=np.float32)
    points = pd.DataFrame({"x": x, "y": x, "kind": "volume", "group": "volumes", "volumename": "v"})
    chart = embedding_map(points, {"volumes": "#0072B2"}, None, measure(x, x), shaded)
    assert (chart.data[-1].marker.opacity < 1) is shaded


def test_the_map_explains_shapes_where_its_legend_has_the_colours_alone(
    measured: AppTest, said: Callable[[AppTest], str]
) -> None:
    measured.session_state["alignment.tab"] = "Map"
    assert "Circles are volumes" not in said(measured.run())
    measured.selectbox(key="map.colour").select("first hit").run()
    assert not measured.exception
    assert "Circles are volumes, diamonds are reports." in said(measured)


def test_a_lasso_takes_what_lies_inside_a_bent_outline() -> None:
    x, y = np.array([0.5, 1.5, 2.5, 1.5]), np.array([0.5, 0.5, 0.5, 2.0])
    corners = np.array([[0, 0], [1, 0], [1, 1], [2, 1], [2, 0], [3, 0], [3, 3], [0, 3]], float)
    assert in_polygon(x, y, *corners.T).tolist() == [True, False, True, True]


def test_a_deleted_result_can_be_put_back(measured: AppTest, store: Path, said: Callable[[AppTest], str]) -> None:
    (run_dir,) = store.glob("align/2*")
    before = sorted(path.relative_to(run_dir) for path in run_dir.rglob("*"))
    measured.button(key="alignment-delete").click().run()
    assert not measured.exception
    assert not run_dir.exists()
    assert "Press **Measure**" in said(measured)
    assert "result" not in measured.query_params
    measured.button(key="undo").click().run()
    assert not measured.exception
    assert sorted(path.relative_to(run_dir) for path in run_dir.rglob("*")) == before
    assert measured.selectbox(key="alignment.result").value.startswith(str(run_dir))


def test_two_results_are_named_by_what_differs_and_have_paired_differences(
    measured: AppTest, align: Callable[[AppTest], AppTest], store: Path, said: Callable[[AppTest], str]
) -> None:
    app = align(measured)
    app.session_state["alignment.tab"] = "Compare"
    app.run()
    assert not app.exception
    assert "does not vary between patients" in said(app)
    assert said(app).count("label origin: unknown") == 1, "what holds of both stands on top of the page"
    tables = [table.value for table in app.dataframe]
    assert len(tables) == 2, "a table for each direction"
    for table in tables:
        assert list(table) == ["Metric", "First", "Second", "Difference [95 % CI]"]
        assert table["Metric"].is_unique and "Recall@10" in set(table["Metric"])
        assert (table["First"] == table["Second"]).all() and table["First"].str.fullmatch(r"\.\d{3}|1\.000").all()
    one = {"name": "test", "encoder": "A", "hit": "exam"}
    assert name_by_difference(one, one | {"encoder": "B"}) == ("A", "B")
    assert name_by_difference(one, one | {"name": "other"}) == ("test", "other")
    names = [parts["name"] for parts in list_stored(str(store)).values()]
    assert not any("alignment" in name for name in names), "the page is of alignments"
    assert len(set(names)) == 2 and not any(folder.name in "".join(names) for folder in store.glob("align/*"))


def test_findings_are_ordered_by_lift_over_chance() -> None:
    findings = pd.DataFrame(
        {"direction": ["v_to_t"] * 3 + ["t_to_v"], "finding": [*"abca"], "lift_at_5": [1.5, np.nan, 3.0, 9.0]}
    )
    assert lift_order(findings, 5) == ["c", "a", "b"]


def test_reports_are_found_by_their_words(
    places: dict[str, str],
    open_page: Open,
    align: Callable[[AppTest], AppTest],
    said: Callable[[AppTest], str],
    rewrite: Callable[[Path, Callable[[list[list[str]]], None]], None],
    taken: Callable[[], dict[str, bytes]],
) -> None:
    texts = {3: "There is a small pleural effusion on the left side", 7: "Pleural effusions on both sides of the chest"}

    def add_reports(rows: list[list[str]]) -> None:
        for place, row in enumerate(rows):
            plain = "Clear lungs, no sign of an infusion or diffusion (normal)"
            row.append("Findings_EN" if place == 0 else texts.get(place, plain))

    rewrite(Path(places["paths.manifest_dir"]) / "test.csv", add_reports)
    app = align(open_page("alignment", places))
    app.session_state["alignment.tab"] = "Browse"
    app.run()
    app.text_input(key="browse.words").set_value("LEFT effusion").run()
    assert not app.exception
    assert app.selectbox(key="browse.query").options == ["test_2_a_1", "test_4_a_1"]
    assert "2 reports with any of 2 words: 1 with 2, 1 with 1." in said(app)
    app.text_input(key="browse.words").set_value("(normal) zebra").run()
    assert "22 reports with any of 2 words: 22 with 1." in said(app)
    app.text_input(key="browse.words").set_value("zebra fusion").run()
    assert "No volume matches" in said(app)
    app.session_state["alignment.tab"] = "Map"
    app.run()
    files = taken()
    csv, parquet = pd.read_csv(io.BytesIO(files["map-csv"])), pd.read_parquet(io.BytesIO(files["map-parquet"]))
    for frame in (csv, parquet):
        assert list(frame)[:5] == ["id", "x", "y", "text", "category"]
        assert frame["id"].is_unique
        assert len(frame) == 48
        assert frame.set_index("id").loc["test_2_a_1/report", "text"] == texts[3]
        assert set(frame["category"]) == {"volumes", "reports"}


def test_a_map_of_many_points_is_thinned_where_they_are_dense_and_counts_all() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 20_000)) * 0.1
    x[:50], y[:50] = rng.uniform(-1, 1, (2, 50))
    x[0] = 500.0
    density = measure(x, y)
    assert density.outside + density.count.sum() == len(x)
    assert density.x[-1] < 3
    kept = thin(x, y, density, 3_000)
    assert len(kept) == len(set(kept.tolist())) == 3_000
    assert set(np.flatnonzero(np.hypot(x, y) > 0.6)) <= set(kept.tolist())
    core = (np.abs(x) < 0.05) & (np.abs(y) < 0.05)
    assert 0 < core[kept].mean() < core.mean() / 2
    assert thin(x[:10], y[:10], density, 3_000).tolist() == list(range(10))


def test_the_view_of_a_map_leaves_out_one_far_place_however_many_points_lie_there() -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 400)).clip(-3, 3)
    x[:20], y[:20] = 40.0, 0.5  # reports of one text
    density = measure(x, y)
    assert density.outside == 20
    assert density.x[-1] < 5
    assert density.x[0] < x.min()  # the outermost mark is whole
    near = measure(x[20:], y[20:])
    assert near.outside == 0
