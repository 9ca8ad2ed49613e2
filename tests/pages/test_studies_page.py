"""The Studies page: the form, progress, results and exported files of studies, and the search."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st
import yaml
from streamlit.testing.v1 import AppTest

from ctbench_core.config import Config
from ctbench_core.errors import InputError
from ctbench_core.inference import MARK_NEAR_END, RECIPES, SAME_PATIENTS
from ctbench_core.jobs import get_runner
from ctbench_core.label_leakage import LEAKAGE_NOTE
from ctbench_core.report import DETECTABLE_TITLE, answer_sentences
from ctbench_core.runs import LEDGER, new_status, write_status
from ctbench_core.studies import (
    Budgets,
    Study,
    StudyPaths,
    axis_title,
    labels_needed,
    parse_search,
    read_plan,
    read_results,
    run_search,
    run_study,
    save_template,
    study_disclosures,
    study_status,
    titled_sentences,
)
from ctbench_core.studies.cells import SAME_TRAINING, SEEDS_AND_PATIENTS
from ctbench_core.studies.results import COLUMNS, LEAKED
from ctbench_core.studies.workers import requested_state
from ctbench_ui.studies import key_axes, progress, results_tabs, study_charts, study_files, study_form, study_tables
from ctbench_ui.studies.progress import matrix_frame

Open = Callable[..., AppTest]
BASE = {
    "training.max_epochs": 3,
    "training.batch_size": 16,
    "model.params.hidden_dims": [8],
    "training.learning_rate": 1e-2,
}


def study_of(tiny_data: Path, store: Path, name: str, grid: dict[str, Any]) -> Study:
    places = {
        "paths.data_root": str(tiny_data / "features"),
        "paths.manifest_dir": str(tiny_data / "manifests"),
        "paths.outputs_root": str(store),
    }
    return Study(name, places | BASE, grid)


@pytest.fixture(scope="module")
def finished(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished label-budget study; read only."""
    grid = {"budget": [12, 24, "all"], "utils.seed": [1, 2, 3], "model": ["mlp_visual", "linear_probe"]}
    return Path(run_study(study_of(tiny_data, tmp_path_factory.mktemp("store"), "budgets", grid))["study_dir"])


@pytest.fixture
def budgets(finished: Path, store: Path) -> str:
    """Return the folder of a finished label-budget study in the app's run store."""
    return str(shutil.copytree(finished, store / "budgets"))


def test_without_data_it_leads_to_data(open_page: Open) -> None:
    assert open_page("studies").button(key="empty-data")


def test_a_link_shows_its_study_without_any_data_chosen(budgets: str, open_page: Open) -> None:
    app = open_page("studies", query={"study": "budgets"})
    assert not app.exception
    assert app.selectbox(key="study").value == "budgets"
    assert app.get("tab")
    app.button(key="new-study").click().run()
    assert app.button(key="empty-data")


def test_buttons_open_the_forms_and_the_choice_of_a_study_leaves_them(
    budgets: str, small_run: dict[str, Any], open_page: Open
) -> None:
    app = open_page("studies", small_run)
    assert app.selectbox(key="study").options == ["budgets"]
    assert app.selectbox(key="study").value == "budgets"
    for kind, field in (("New study", "study-start"), ("New search", "search-start")):
        app.button(key=kind.lower().replace(" ", "-")).click().run()
        assert not app.exception
        assert [part.value for part in app.header] == [kind]
        assert app.button(key=field)
        assert app.selectbox(key="study").value is None
        assert app.query_params["study"] in (kind, [kind])
    app.selectbox(key="study").select("budgets").run()
    assert not app.exception and "New search" not in [part.value for part in app.header]
    assert "18 of 18 runs" in str([part.value for part in app.markdown])
    assert app.query_params["study"] in ("budgets", ["budgets"])


def test_a_read_only_link_offers_no_new_study(budgets: str, open_page: Open) -> None:
    app = open_page("studies", query={"study": "budgets", "view": "read"})
    assert not app.exception
    assert not [button for button in app.button if str(button.key).startswith("new-")]


def test_a_study_is_started_from_the_form(open_page: Open, small_run: dict[str, Any], said: Any, store: Path) -> None:
    app = open_page("studies", small_run)
    assert [part.value for part in app.header] == ["New study"]
    app.button(key="protocol-Probe or MLP").click().run()
    app.number_input(key="study.seeds").set_value(2).run()
    assert "4 runs" in said(app)
    app.text_input(key="study.budget").set_value("20, all").run()
    assert "8 runs" in said(app)
    app.text_input(key="study.budget").set_value("1").run()
    assert "at least 2" in said(app)
    app.text_input(key="study.budget").set_value("").run()
    app.button(key="study-start").click().run()
    assert not app.exception
    folder = store / "probe-or-mlp"
    assert get_runner().wait(folder, 60)
    app.run()
    assert "4 of 4 runs" in said(app)
    assert not app.exception
    status = study_status(StudyPaths(folder), read_plan(StudyPaths(folder)))
    assert (status.state, status.counts["finished"]) == ("finished", 4)


@pytest.mark.parametrize("tab", ["Curves", "Overview", "Findings", "Differences", "Bottlenecks", "Runs", "Export"])
def test_every_tab_draws(open_page: Open, small_run: dict[str, Any], budgets: str, tab: str, said: Any) -> None:
    app = open_page("studies", small_run, {"study": "budgets"})
    app.session_state["study-tabs"] = tab
    app.run()
    assert not app.exception
    assert said(app).count("18 of 18 runs") == 1
    assert " cell" not in said(app)
    assert not [button.label for button in app.get("download_button") if "cell" in button.label]
    expected = {
        "Curves": "power law",
        "Overview": "two parts",
        "Findings": "max-T",
        "Differences": "Filled: adjusted p",
    }
    assert expected.get(tab, "") in said(app)


def test_many_pairs_are_compared_on_a_click_and_few_at_once(
    open_page: Open, budgets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    StudyPaths(Path(budgets)).differences.unlink()  # as if its process had ended before
    at = study_tables.update_results(budgets)
    assert study_tables.count_missing(budgets, at, "model") == 3  # one at each budget
    monkeypatch.setattr(results_tabs, "_COMPARED_AT_ONCE", 2)
    query = {"study": "budgets", "study-tabs": "differences", "differences-axis": axis_title("model")}
    app = open_page("studies", query=query)
    button = app.button(key="differences-compare")
    assert button.label == "Compare 3 pairs" and not app.dataframe
    button.click().run()
    assert not app.exception and app.dataframe
    app = open_page("studies", query=query)  # they are kept
    assert app.dataframe and study_tables.count_missing(budgets, at, "model") == 0
    assert not [button for button in app.button if button.key == "differences-compare"]


def test_patients_are_a_column_where_they_are_not_the_budget(budgets: str, open_page: Open) -> None:
    frame = study_tables.load_cells(budgets, study_tables.update_results(budgets))
    table = study_tables.overview_table(frame, ["budget", "model"])
    assert "Patients" not in table
    assert list(dict.fromkeys(table["Budget"])) == ["12", "24", "all (44)"]
    other = study_tables.overview_table(frame.assign(n_patients=11), ["budget", "model"])
    assert "Patients" in other and "all" in set(other["Budget"])
    app = open_page("studies", query={"study": "budgets", "study-tabs": "runs"})
    assert not app.exception
    assert "n_patients" not in app.dataframe[0].proto.column_order
    assert set(app.dataframe[0].value["budget"]) == {"12", "24", "all (44)"}


def test_the_detectable_difference_has_a_short_heading(budgets: str, open_page: Open) -> None:
    app = open_page("studies", query={"study": "budgets", "study-tabs": "differences"})
    columns = json.loads(app.dataframe[0].proto.columns)
    assert columns[DETECTABLE_TITLE]["label"] == "Detectable" and "80 % power" in columns[DETECTABLE_TITLE]["help"]


def test_the_runs_of_a_study_can_be_filtered(open_page: Open, budgets: str) -> None:
    app = open_page("studies", query={"study": "budgets", "study-tabs": "runs"})
    assert {field.placeholder for field in app.multiselect if field.key.startswith("runs-")} == {"All"}
    order = list(app.dataframe[0].proto.column_order)
    assert order[:2] == ["run", "validation_auprc"] and order.index("test_auprc") < order.index("budget")


@pytest.mark.parametrize("tab", ["Overview", "Differences", "Bottlenecks", "Runs"])
def test_tables_name_heads_and_axes_as_people_do(
    open_page: Open, small_run: dict[str, Any], budgets: str, tab: str
) -> None:
    app = open_page("studies", small_run, {"study": "budgets"})
    app.session_state["study-tabs"] = tab
    app.run()
    assert not app.exception
    texts = set(app.dataframe[0].value.astype(str).to_numpy().ravel())
    assert {"Linear", "MLP"} & texts
    assert not {"linear_probe", "mlp_visual"} & texts


def test_the_mark_of_a_macro_mean_is_of_its_findings(budgets: str) -> None:
    frame = study_tables.load_cells(budgets, study_tables.update_results(budgets)).assign(
        marks=MARK_NEAR_END, reason=""
    )
    notes = set(study_tables.overview_table(frame, ["budget", "model"])["Note"])
    assert notes == {"a finding near 1: the 95 % CI may cover only 93 %"}


def test_notes_of_a_table_are_numbered_and_written_whole_below_it(
    open_page: Open, budgets: str, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, text = study_tables.overview_table, "near 1: the interval may be too short, since few patients decide it"

    def noted(frame: pd.DataFrame, axes: list[str]) -> pd.DataFrame:
        table = real(frame, axes)
        return table.assign(Note=[text, "another", text, *[""] * (len(table) - 3)])

    monkeypatch.setattr(study_tables, "overview_table", noted)
    app = open_page("studies", query={"study": "budgets", "study-tabs": "overview"})
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table["Note"])[:4] == ["1", "2", "1", ""]
    assert list(table).index("Note") == list(table).index("Mean") + 2
    assert f"Note 1: {text}.  \nNote 2: another." in said(app)
    monkeypatch.setattr(study_tables, "overview_table", lambda *given: real(*given).assign(Note=""))
    app = open_page("studies", query={"study": "budgets", "study-tabs": "overview"})
    assert "Note" not in app.dataframe[0].value


def test_findings_and_states_of_runs_name_heads_as_people_do(budgets: str) -> None:
    at, plan = study_tables.update_results(budgets), study_tables.load_plan(budgets)
    values, marked, note = study_tables.heat_tables(budgets, at, "auprc", {"budget": "all"}, mark_best=False)
    assert list(values) == list(marked) == ["MLP", "Linear"]
    assert note == ""
    matrix = progress.matrix_frame(plan, {run.id: "finished" for run in plan.runs})
    assert set(matrix["cell"]) == {f"{budget} · {head}" for budget in ("12", "24", "all") for head in ("MLP", "Linear")}
    assert set(matrix["repeat"]) == {"seed 1", "seed 2", "seed 3"}


@pytest.mark.parametrize(
    ("p", "marked", "note"),
    [
        ([0.3, 0.4, np.nan], [False] * 3, "No ★: in no finding does one column beat all others."),
        ([np.nan] * 3, [False] * 3, "No ★: these columns cannot be tested against each other."),
        ([0.001, 0.4, 0.5], [True, False, False], ""),
    ],
)
def test_without_a_best_column_the_heat_map_says_why(
    budgets: str,
    open_page: Open,
    said: Any,
    monkeypatch: pytest.MonkeyPatch,
    p: list[float],
    marked: list[bool],
    note: str,
) -> None:
    findings = ["Emphysema", "Lung nodule", "Nothing"]
    best = pd.DataFrame({"finding": findings, "best": 0, "p": p, "p_adjusted": p, "marked": marked})
    monkeypatch.setattr(study_tables, "_best", lambda *_: best)
    app = open_page("studies", query={"study": "budgets", "study-tabs": "findings", "heat-marks": "true"})
    assert not app.exception
    assert ("No ★" in said(app)) == bool(note)
    assert note in said(app)
    assert "K-fold: corrected t test" in said(app)


def test_a_table_and_a_chart_say_what_their_intervals_hold_for(budgets: str, open_page: Open, said: Any) -> None:
    app = open_page("studies", query={"study": "budgets", "study-tabs": "differences"})
    assert not app.exception
    axis = app.segmented_control(key="differences-axis").value
    questions = set(study_tables.axis_differences(budgets, study_tables.update_results(budgets), axis)["question"])
    assert {RECIPES, SAME_PATIENTS} & questions
    assert " ".join(answer_sentences(questions)) in said(app)
    both = pd.DataFrame({"interval": [SEEDS_AND_PATIENTS, SAME_TRAINING]})
    covered = "seeds and patients (only for these patients, where seeds share training patients)"
    assert results_tabs._covers(both) == covered
    assert results_tabs._covers(both[:1]) == "seeds and patients"


def test_the_runs_of_a_study_have_the_headings_of_runs(open_page: Open, budgets: str) -> None:
    app = open_page("studies", query={"study": "budgets", "study-tabs": "runs"})
    headings = [one.get("label") for one in json.loads(app.dataframe[0].proto.columns).values()]
    assert "Val. AUPRC" in headings
    assert "Test AUPRC" in headings
    assert not [heading for heading in headings if "Validation" in str(heading)]


@pytest.mark.parametrize(("rows", "height"), [(3, 143), (12, 458), (40, 598)])
def test_the_overview_shows_a_small_study_whole(
    open_page: Open, budgets: str, monkeypatch: pytest.MonkeyPatch, rows: int, height: int
) -> None:
    heights, real, draw = [], study_tables.overview_table, st.dataframe
    monkeypatch.setattr(study_tables, "overview_table", lambda *given: pd.concat([real(*given)] * 40)[:rows])
    monkeypatch.setattr(st, "dataframe", lambda *given, **named: heights.append(named.get("height")) or draw(*given))
    open_page("studies", query={"study": "budgets", "study-tabs": "overview"})
    assert heights == [height]


def test_intervals_that_were_lost_are_worked_out_on_demand(
    open_page: Open, small_run: dict[str, Any], budgets: str, said: Any
) -> None:
    app = open_page("studies", small_run, {"study": "budgets"})
    assert not [button for button in app.button if button.key == "study-intervals"]
    before = pd.read_parquet(StudyPaths(Path(budgets)).intervals)
    StudyPaths(Path(budgets)).intervals.unlink()
    app = open_page("studies", small_run, {"study": "budgets"})
    app.button(key="study-intervals").click().run()
    assert get_runner().wait(Path(budgets), 60)
    app.run()
    assert not app.exception
    assert not [button for button in app.button if button.key == "study-intervals"]
    pd.testing.assert_frame_equal(pd.read_parquet(StudyPaths(Path(budgets)).intervals), before)


def test_encoders_sources_and_any_key_are_axes_with_a_check_of_each_folder(
    open_page: Open, small_run: dict[str, Any], data: Path, said: Any, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(data / "features", tmp_path / "other"))
    app = open_page("studies", small_run)
    app.button(key="protocol-Encoders").click().run()
    app.text_input(key="study.encoder.0.folder").set_value(str(data / "features")).run()
    app.text_input(key="study.encoder.0.name").set_value("first")
    app.text_input(key="study.encoder.1.folder").set_value(str(other)).run()
    app.text_input(key="study.encoder.2.folder").set_value(str(tmp_path / "nowhere")).run()
    app.text_input(key="study.source.0.folder").set_value(str(tmp_path / "nowhere")).run()
    assert "15 runs" in said(app)
    assert said(app).count("16 dimensions") == 2
    assert said(app).count("No such folder") == 2
    app.button(key="study.encoder-remove-2").click().run()
    app.button(key="study.source-remove-0").click().run()
    app.selectbox(key="study.keys.0.key").select("training.learning_rate").run()
    app.text_input(key="study.keys.0.typed").set_value("1e-3, 1e-4").run()
    app.selectbox(key="study.keys.1.key").select("training.loss._target_").run()
    app.multiselect(key="study.keys.1.picked").set_value(["focal", "asymmetric"]).run()
    assert not app.exception
    assert "40 runs" in said(app)
    assert "**40 evaluations** on test" in said(app)
    grid = yaml.safe_load(app.code[-2].value)["grid"]
    assert grid["encoder"] == {"first": str(data / "features"), "other": str(other)}
    assert grid["training.learning_rate"] == [1e-3, 1e-4]
    assert grid["training.loss._target_"] == ["focal", "asymmetric"]
    app.text_input(key="study.encoder.1.name").set_value("first").run()
    assert "called first" in said(app)
    app.button(key="protocol-K-fold").click().run()
    assert "no evaluation on test, 15 evaluations on held-out folds" in said(app)
    assert "encoder" not in yaml.safe_load(app.code[-2].value)["grid"]


def test_templates_are_saved_picked_and_deleted_and_damaged_ones_named(
    open_page: Open, small_run: dict[str, Any], store: Path, said: Any
) -> None:
    app = open_page("studies", small_run | {"study-templates": True})
    app.text_input(key="study.budget").set_value("20, all")
    app.selectbox(key="study.keys.0.key").select("training.learning_rate").run()
    app.text_input(key="study.keys.0.typed").set_value("1e-3, 2e-3").run()
    app.text_input(key="study-template-name").set_value("Two rates").run()
    app.button(key="template-save").click().run()
    assert not app.exception
    (store / ".study-templates" / "broken.json").write_text('{"seeds": "many"}')
    other = open_page("studies", small_run | {"study-templates": True})
    assert "Template broken is damaged" in [error.proto.title for error in other.error]
    other.button(key="template-Two rates").click().run()
    assert not other.exception
    assert "20 runs" in said(other)
    assert other.text_input(key="study.name").value == "two rates"
    other.button(key="template-delete-Two rates").click().run()
    assert [path.name for path in (store / ".study-templates").iterdir()] == ["broken.json"]
    with pytest.raises(InputError, match="cannot name a template"):
        save_template(store, "../up", {})


@pytest.mark.parametrize("values", [[1e-4, 0.5], [True, "all", None], [[8], [16, 8]], ["a, b", "yes"]])
def test_values_of_an_axis_are_written_as_they_are_read(values: list[Any]) -> None:
    assert key_axes.parse_values(key_axes.write_values(values)) == values


def test_paused_and_resumed_from_the_page(open_page: Open, small_run: dict[str, Any], store: Path) -> None:
    fields = small_run | {"training.max_epochs": 100_000, "training.early_stopping_patience": 100_000}
    app = open_page("studies", fields)
    app.number_input(key="study.seeds").set_value(1).run()
    app.button(key="study-start").click().run()
    app.button(key="study-pause").click().run()
    folder = store / "my-study"
    assert get_runner().wait(folder, 60)
    assert requested_state(StudyPaths(folder)) == "paused"
    app.run()
    app.button(key="study-resume").click().run()
    assert not app.exception
    app.button(key="study-cancel").click().run()
    assert get_runner().wait(folder, 60)
    seen = study_status(StudyPaths(folder), read_plan(StudyPaths(folder)))
    assert (seen.state, seen.counts["finished"]) == ("cancelled", 0)


def test_the_report_is_one_file_with_every_figure_and_table(budgets: str) -> None:
    page = study_files.html(budgets)
    assert page.count("Plotly.newPlot(") >= 6
    assert 'src="http' not in page
    for part in (
        "AUPRC by label budget",
        "AUROC by label budget",
        "by finding",
        "Cells",
        "Differences along Head",
        "Bottlenecks",
        "Runs",
    ):
        assert part in page
    for run in read_plan(StudyPaths(Path(budgets))).runs:
        assert run.id in page


def test_latex_holds_the_cells(budgets: str, tmp_path: Path) -> None:
    text = study_files.latex(budgets)
    frame = study_tables.load_cells(budgets, study_tables.update_results(budgets))
    macros = frame[(frame["finding"] == "") & (frame["metric"] == "auprc")]
    for mean in macros["mean"]:
        assert f"{mean:.3f}".replace("0.", ".") in text
    document = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{text}\end{{document}}"
    (tmp_path / "t.tex").write_text(document)
    try:
        subprocess.run(
            ["pdflatex", "-interaction=batchmode", "-halt-on-error", "t.tex"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("no pdflatex here")


MARKS = ["test_openings", "leak_patients", "label_origin", "warning"]


def test_every_file_of_a_study_is_marked(
    open_page: Open, small_run: dict[str, Any], budgets: str, taken: Callable[[], dict[str, bytes]]
) -> None:
    app = open_page("studies", small_run, {"study": "budgets"})
    (Path(budgets).parent / LEDGER).write_text(_ledger(Path(budgets)))
    for tab in ("Curves", "Overview", "Findings", "Differences", "Bottlenecks", "Export"):
        app.session_state["study-tabs"] = tab
        app.run()
        assert not app.exception
    files = taken()
    tables = {key: pd.read_csv(io.BytesIO(file)) for key, file in files.items() if not key.endswith(("tex", "html"))}
    charts = {"curves-csv", "heat-csv", "forest-csv"}
    assert set(tables) == {*charts, "cells-csv", "differences-csv", "bottlenecks-csv", "export-runs", "export-cells"}
    assert {f"{name.removesuffix('csv')}html" for name in charts} < set(files)
    assert (
        tables["curves-csv"]["mean"].tolist()
        == study_tables.curve_points(budgets, study_tables.update_results(budgets), "auprc", "")["mean"].tolist()
    )
    for key, table in tables.items():
        assert list(table)[-4:] == MARKS, key
        assert table[MARKS[:3]].drop_duplicates().to_numpy().tolist() == [[20, 0, "unknown"]], key
        assert table["warning"].isna().all(), key
    for ending in ("tex", "html"):
        assert "evaluated 20 times by 19 runs of this run store" in files[f"export-{ending}"].decode()
        assert "label origin: unknown" in files[f"export-{ending}"].decode()


def _ledger(folder: Path) -> str:
    """Write a ledger: one evaluation of every run of a study, a second one of the first run, one of another job, and others.

    The others are of another test set of the same name, and of one from before identities.
    """
    runs = [run.id for run in read_plan(StudyPaths(folder)).runs]
    one = {"job": folder.name, "manifest": "test.csv", "test_set": "id"}
    entries = [one | {"run": str(folder / run)} for run in [*runs, runs[0]]]
    entries += [one | {"job": "other", "run": "elsewhere", "test_set": test_set} for test_set in ("id", "other", None)]
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def test_the_marks_of_a_study_sum_up_those_of_its_runs(budgets: str) -> None:
    """The fold with most evaluations, the largest leak, every label origin, and the warning of the one run that reads text."""
    rows = [("a", "fold_0", 0), ("a", "validation", 0), ("b", "fold_1", 3), ("b", "validation", 1)]
    results = pd.DataFrame([(run, on, "", LEAKED, n) for run, on, n in rows], columns=list(COLUMNS))
    paths = StudyPaths(Path(budgets))
    evaluated = [("a", "fold_0"), ("b", "fold_1"), ("b", "fold_1")]
    lines = [{"job": "budgets", "run": run, "manifest": on, "test_set": on} for run, on in evaluated]
    (paths.root.parent / LEDGER).write_text("".join(json.dumps(line) + "\n" for line in lines))
    plain, reading = Config(), Config()
    plain.data.label_origin, reading.data.label_origin, reading.model.inputs = "manual", "report-derived", "text"
    marks = study_disclosures(paths, results, [plain, reading])
    assert (marks.openings, marks.runs, marks.leak_patients) == (2, 1, 3)
    assert marks.label_origins == ["manual", "report-derived"]
    assert marks.warning == LEAKAGE_NOTE
    closed = study_disclosures(paths, results[results["set"] == "validation"], [plain])
    assert (closed.openings, closed.leak_patients, closed.warning) == (None, 1, "")


def test_leaks_missing_from_older_results_are_read_again(budgets: str) -> None:
    paths = StudyPaths(Path(budgets))
    before = pd.read_parquet(paths.results)
    before[before["metric"] != LEAKED].to_parquet(paths.results, index=False)
    after = read_results(paths, read_plan(paths))
    pd.testing.assert_frame_equal(after.sort_values(list(COLUMNS[:4])), before.sort_values(list(COLUMNS[:4])))
    assert LEAKED not in "".join(study_tables.load_runs(budgets, study_tables.update_results(budgets)))


def test_points_know_their_runs(budgets: str) -> None:
    at = study_tables.update_results(budgets)
    rows = study_tables.curve_points(budgets, at, "auprc", "")
    table = study_tables.load_runs(budgets, at)
    assert set(rows["line"]) == {"MLP", "Linear"}
    for row in rows.to_dict("records"):
        budget, model = json.loads(row["cell"])
        mine = table[(table["budget"] == budget) & (table["model"] == model)]
        assert mine["test_auprc"].mean() == pytest.approx(row["mean"])
        assert mine["n_patients"].median() == row["n"]
    assert set(study_tables.curve_fits(rows)) == {"MLP", "Linear"}


def test_labels_needed_and_crossings_are_read_from_the_intervals(budgets: str) -> None:
    at = study_tables.update_results(budgets)
    rows = study_tables.curve_points(budgets, at, "auprc", "")
    needed = study_tables.needed_table(rows, 0.5).set_index("Recipe")
    assert set(needed["Method"]) == {"range over 3 seeds"}  # three seeds: no interval
    line = rows[rows["line"] == "MLP"].sort_values("n")
    ranges = line[["range_lo", "range_hi"]].to_numpy(dtype=float)
    found = labels_needed(line["n"], line["mean"], ranges, 0.5)
    assert needed.loc["MLP", ["Patients", "Range"]].tolist() == [
        study_tables.budget_text(found.n, list(line["n"])),
        study_tables.set_text(found, list(line["n"])),
    ]
    (row,) = study_tables.crossing_table(budgets, at, "auprc", "").to_dict("records")
    table = study_tables.axis_differences(budgets, at, "model")
    own = table[(table["finding"] == "") & (table["metric"] == "auprc")].set_index("budget")["delta"]
    assert list(row)[:3] == ["First", "Second", "Crossing (patients)"]  # a phone shows them
    shown = study_tables.difference_table(table, ["budget", "model"], "model")
    assert list(shown)[:2] == ["Finding", "Difference"]
    assert row["Better at small budgets"] == ("MLP" if own["12"] > 0 else "Linear")
    assert row["Better at large budgets"] == ("MLP" if own["all"] > 0 else "Linear")


def test_sets_of_budgets_read_as_words() -> None:
    sizes = [20, 60, 663]
    for budgets, text in (
        (Budgets(80, 52.4, 134), "52 to 134"),
        (Budgets(80, -np.inf, 134), "below 20 to 134"),
        (Budgets(80, 52, np.inf), "52 to above 663"),
        (Budgets(np.inf, np.inf, np.inf), "above 663"),
        (Budgets(80, np.nan, np.nan), "–"),
    ):
        assert study_tables.set_text(budgets, sizes) == text
    assert study_tables.budget_text(-np.inf, sizes) == "below 20"


def test_with_five_seeds_the_interval_counts_and_without_one_it_says_so() -> None:
    points = pd.DataFrame({"line": "a", "n": [10.0, 100], "mean": [0.4, 0.8], "repeats": 5})
    points = points.assign(lo=[0.3, 0.7], hi=[0.5, 0.9], range_lo=0.0, range_hi=1.0)
    (row,) = study_tables.needed_table(points, 0.6).to_dict("records")
    assert (row["Method"], row["95 % range"]) == ("95 % CI", "18 to 56")
    (row,) = study_tables.needed_table(points.assign(lo=np.nan), 0.6).to_dict("records")
    assert (row["Method"], row["Range"], row["Patients"]) == ("no interval", "–", "32")


def test_the_matrix_has_one_square_a_run(budgets: str) -> None:
    plan = read_plan(StudyPaths(Path(budgets)))
    frame = matrix_frame(plan, study_status(StudyPaths(Path(budgets)), plan).states)
    figure = study_charts.run_matrix(frame)
    assert sum(len(trace.x) for trace in figure.data) == 18
    assert set(frame["state"]) == {"finished"}


def test_a_search_shows_what_it_found(
    open_page: Open, small_run: dict[str, Any], tiny_data: Path, said: Any, store: Path
) -> None:
    base = study_of(tiny_data, store, "none", {}).base
    space = {"depth": {"low": 0, "high": 1}, "training.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}
    result = run_search(parse_search({"name": "sweep", "base": base, "space": space, "trials": 8}))
    app = open_page("studies", small_run, {"study": "sweep"})
    assert not app.exception
    assert "8 of 8 trials" in said(app)
    assert "Best trial with 5 new seeds" in said(app)
    assert all(text in said(app) for text in titled_sentences(result["warnings"]))
    assert ("widen the space" in said(app)) == bool(result["warnings"])
    app.button(key="search-again").click().run()
    assert not app.exception
    assert get_runner().wait(store / "sweep-best-again", 60)
    assert len(pd.read_csv(store / "sweep-best-again" / "table.csv")) == 5
    app = open_page("studies", small_run, {"study": "sweep"})
    app.button(key="search-stability").click().run()
    assert get_runner().wait(store / "sweep-top-5-again", 60)
    app = open_page("studies", small_run, {"study": "sweep"})
    assert not app.exception
    assert "Kendall's τ" in said(app)
    _held_as_the_runs_say(app, store)


def _held_as_the_runs_say(app: AppTest, store: Path) -> None:
    """The table of the top 5 holds the means of their fresh runs, and no run was evaluated on test."""
    paths = StudyPaths(store / "sweep-top-5-again")
    runs = read_plan(paths).runs
    means = {}
    for run in runs:
        best = json.loads((paths.run(run.id) / "best_metrics.json").read_text())["val_metrics"]["auprc"]
        means.setdefault(int(run.labels["training.learning_rate"]), []).append(best)
        assert not (paths.run(run.id) / "evaluation").exists()
    (table,) = [frame.value for frame in app.dataframe if "rank again" in frame.value]
    assert table["mean"].tolist() == pytest.approx([sum(means[rank]) / 3 for rank in range(1, 6)])
    assert (table["flattered"] == table["value"] - table["mean"]).all()


def test_a_deleted_study_can_be_put_back_with_its_runs(
    budgets: str, store: Path, open_page: Open, small_run: dict[str, Any]
) -> None:
    before = sorted(path.relative_to(budgets) for path in Path(budgets).rglob("*"))
    app = open_page("studies", small_run, query={"study": "budgets"})
    app.button(key="study-delete").click().run()
    assert not app.exception
    assert not Path(budgets).exists()
    assert [part.value for part in app.header] == ["New study"]
    app.button(key="undo").click().run()
    assert not app.exception
    assert sorted(path.relative_to(budgets) for path in Path(budgets).rglob("*")) == before
    assert "budgets" in app.selectbox(key="study").options


def test_a_study_that_another_process_trains_is_not_deleted(budgets: str, open_page: Open, said: Any) -> None:
    paths = StudyPaths(Path(budgets))
    paths.claim(3).parent.mkdir(exist_ok=True)
    app = open_page("studies", query={"study": "budgets"})
    write_status(paths.claim(3), new_status("3", kind="claim"), state="running")
    app.button(key="study-delete").click().run()
    assert "Pause or cancel it before deleting it" in said(app)
    assert Path(budgets).is_dir()


def test_the_time_of_a_study_is_written_as_on_train(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"seconds": 60.0, "state": "finished", "updated": ""}
    monkeypatch.setattr(study_form.cache, "run_rows", lambda root: [row])
    monkeypatch.setattr(study_form, "seconds_per_run", lambda ended: 60.0)
    assert study_form._estimate(12) == ["about 12 min on this machine, at the pace of the last 1 run"]
