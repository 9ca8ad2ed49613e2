"""Evaluate's tabs of calibration, subgroups, chosen thresholds and paper: what they show is what is stored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix
from streamlit.testing.v1 import AppTest

from ctbench_core.config import Config, set_key
from ctbench_core.evaluate import counts_frame, evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.formatting import format_metric, format_threshold
from ctbench_core.metrics import brier_score, choose_thresholds
from ctbench_core.runs import RunPaths, open_run
from ctbench_ui.evaluate import threshold

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]
_RATES = "Validation → test [95 % CI]"  # first column of the table of rules


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """Write a store with an evaluated run whose test set has sexes and makers; read only."""
    folder = tmp_path_factory.mktemp("evaluated")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    for path in (data / "manifests").glob("*.csv"):
        frame = pd.read_csv(path)
        frame.insert(3, "PatientSex", np.repeat(["M", "F"], (len(frame) + 1) // 2)[: len(frame)])
        frame.insert(4, "Manufacturer", (["SIEMENS", "Siemens Healthineers", "Philips"] * len(frame))[: len(frame)])
        frame.to_csv(path, index=False)
    config = Config()
    places = {"data_root": data / "features", "manifest_dir": data / "manifests", "outputs_root": folder / "outputs"}
    for name, place in places.items():
        set_key(config, f"paths.{name}", str(place))
    small = {"training.max_epochs": 3, "training.batch_size": 16, "model.params.hidden_dims": [8]}
    for name, value in {**small, "data.label_origin": "report-derived"}.items():
        set_key(config, name, value)
    evaluate_run(Path(run_experiment(config)["run_dir"]))
    return folder / "outputs"


@pytest.fixture
def run(written: Path, store: Path, copy_store: Callable[[Path, Path], Path]) -> RunPaths:
    """Copy an evaluated run into the store of the app."""
    return RunPaths(next(copy_store(written, store).glob("train/*/status.json")).parent)


def _open_tab(open_page: Open, run: RunPaths, tab: str) -> AppTest:
    app = open_page("evaluate", query={"run": run.root.name})
    app.session_state["tab"] = tab
    app.run()
    assert not app.exception
    return app


def _table(app: AppTest, column: str) -> pd.DataFrame:
    return next(frame.value for frame in app.dataframe if column in frame.value)


def _charts(app: AppTest) -> list[dict[str, Any]]:
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def test_calibration_shows_the_stored_metrics_before_and_after(run: RunPaths, open_page: Open, said: Said) -> None:
    app = _open_tab(open_page, run, "Calibration")
    bundle = run.evaluation("test")
    stored = pd.read_csv(bundle.calibration).set_index(["finding", "stage"])
    scores = pd.read_parquet(bundle.scores)
    label = "Lung nodule"
    direct = brier_score(scores[[f"target_{label}"]].astype(float), scores[[f"prob_{label}"]]).brier[0]
    assert stored.loc[(label, "before"), "brier"] == pytest.approx(direct, abs=1e-12)
    shown = _table(app, "before").set_index("Metric")
    for row, name in (("Brier", "brier"), ("ECE", "ece")):
        for column, stage in (("before", "before"), ("after (Platt)", "platt")):
            assert float(shown.loc[row, column].split()[0]) == pytest.approx(stored.loc[(label, stage), name], abs=5e-4)
    every = _table(app, "Probabilities")
    numbers = ["Brier", "ECE", "Slope", "Intercept"]
    assert [name for name in every if name.endswith(", 95 % CI")] == [
        f"{name}, 95 % CI" for name in numbers if name != "ECE"
    ]
    assert list(every.select_dtypes("float")) == numbers  # a click on a heading sorts by them
    assert every["Probabilities"].tolist() == ["before", "after (Platt)"] * every["Finding"].nunique()
    after = every[every["Probabilities"] == "after (Platt)"].set_index("Finding")
    assert after.loc[label, "Brier"] == stored.loc[(label, "platt"), "brier"]
    written = f"{format_metric(after.loc[label, 'Brier'])} {after.loc[label, 'Brier, 95 % CI']}".strip()
    assert written == shown.loc["Brier", "after (Platt)"]
    plot, decisions = _charts(app)
    assert {trace.get("name") for trace in plot["data"]} >= {"before", "after (Platt)"}
    assert {"model", "treat all", "treat none"} <= {trace.get("name") for trace in decisions["data"]}
    assert "Decision curve (net benefit)" in said(app)
    table = pd.read_parquet(bundle.net_benefit)
    assert str(table.loc[table["finding"] == label, "reason"].iloc[0]) in said(app)
    tuning = json.loads(run.tuning.read_text(encoding="utf-8"))
    promised = tuning["validation"]["per_class"][label]["ece_platt"]
    gap = format_metric(promised - stored.loc[(label, "platt"), "ece"], signed=True)
    tested = format_metric(stored.loc[(label, "platt"), "ece"])
    assert "Validation − test**, after (Platt), validation cross-fitted over" in said(app)
    assert f"ECE {format_metric(promised)} − {tested} = {gap}" in said(app)
    assert ("it turns the order of the scores" in said(app)) == (tuning["calibration"]["platt"]["slope"][label] < 0)
    app.session_state["calibration.method"] = "temperature"
    app.run()
    assert "after (temperature)" in _table(app, "before")


def test_a_calibration_map_that_turns_scores_around_is_told(run: RunPaths, open_page: Open, said: Said) -> None:
    tuning = json.loads(run.tuning.read_text(encoding="utf-8"))
    for slope, is_told in ((-35.2, True), (0.4, False)):
        tuning["calibration"]["platt"]["slope"]["Lung nodule"] = slope
        run.tuning.write_text(json.dumps(tuning), encoding="utf-8")
        text = said(_open_tab(open_page, run, "Calibration"))
        assert ("has the slope −35.20: it turns the order of the scores of Lung nodule around" in text) == is_told


def test_subgroups_of_sex_and_maker(run: RunPaths, open_page: Open, said: Said) -> None:
    app = _open_tab(open_page, run, "Subgroups")
    assert app.selectbox(key="subgroups.column").options == ["PatientSex", "Manufacturer"]
    shown = _table(app, "group")
    assert shown["group"].tolist() == ["F", "M"]
    assert shown["volumes"].tolist() == [12, 12]
    assert list(shown)[:4] == ["group", "value", "complement", "gap"]  # a phone shows them first
    # Six patients a side are too few: the gap has no interval, and it is said why.
    assert not shown["gap"].str.contains("[", regex=False).any() and shown["p_adjusted"].isna().all()
    assert "no finding has 10 patients of each class" in str(shown["reason"].iloc[0])
    assert "prevalence" not in shown  # a macro mean has none: its column would cut the note
    app.selectbox(key="subgroups.column").select("Manufacturer").run()
    assert not app.exception
    shown = _table(app, "group")
    assert shown["group"].tolist() == ["Philips", "Siemens"]
    app.selectbox(key="subgroups.finding").select("Emphysema").run()
    scores = pd.read_parquet(run.evaluation("test").scores)
    table = _table(app, "group").set_index("group")
    assert table["prevalence"].between(0, 1).all()
    siemens = np.arange(len(scores)) % 3 < 2
    assert table.loc["Siemens", "positives"] == scores.loc[siemens, "target_Emphysema"].sum()
    assert run.evaluation("test").subgroups("Manufacturer").is_file()


def test_a_phone_shows_metrics_and_scores_first(run: RunPaths, open_page: Open) -> None:
    findings = _table(_open_tab(open_page, run, "Findings"), "auprc")
    assert list(findings)[:6] == ["finding", "auprc", "auprc_ci", "support", "prevalence", "skill"]
    app = _open_tab(open_page, run, "Volumes")
    table = next(frame for frame in app.dataframe if "probability" in frame.value)
    assert list(table.proto.column_order) == ["volume", "label", "probability", "error", "exam", "patient"]


def test_a_table_of_metadata_may_be_named(run: RunPaths, open_page: Open, tmp_path: Path, said: Said) -> None:
    volumes = pd.read_parquet(run.evaluation("test").scores)["volumename"]
    pd.DataFrame({"VolumeName": volumes, "Site": ["north", "south"] * 12}).to_csv(tmp_path / "meta.csv", index=False)
    app = _open_tab(open_page, run, "Subgroups")
    app.text_input(key="subgroups.table").set_value(str(tmp_path / "meta.csv")).run()
    assert not app.exception
    assert _table(app, "group")["group"].tolist() == ["north", "south"]
    app.text_input(key="subgroups.table").set_value(str(tmp_path / "gone.csv")).run()
    assert not app.exception
    assert "does not exist" in said(app) or "gone.csv" in said(app)


def test_thresholds_are_those_of_validation(run: RunPaths, open_page: Open) -> None:
    app = _open_tab(open_page, run, "Threshold")
    label = "Lung nodule"
    scores = pd.read_parquet(run.validation_scores)
    targets, probabilities = (scores[[f"{part}_{label}"]].to_numpy(float) for part in ("target", "prob"))
    shown = _table(app, _RATES).set_index(_RATES)
    for title, rule in (("Best F1", "f1"), ("Youden", "youden"), ("Sensitivity ≥ .95", "sensitivity=.95")):
        chosen = choose_thresholds(targets, probabilities, rule).values[0]
        assert float(shown.loc["Threshold", title]) == pytest.approx(chosen, abs=5e-4)
    rates = threshold.tuned_rates(run, label, run.evaluation("test").scores, ["f1"]).iloc[0]
    stored = json.loads(run.evaluation("test").metrics.read_text(encoding="utf-8"))["per_class"][label]
    assert rates["F1, test"] == pytest.approx(stored["f1_tuned"])
    tuning = json.loads(run.tuning.read_text(encoding="utf-8"))
    assert rates["F1, validation"] == pytest.approx(tuning["validation"]["per_class"][label]["f1_tuned"])
    app.button(key="use-f1").click().run()
    assert not app.exception
    assert app.slider(key="threshold").value == pytest.approx(rates["threshold"], abs=1e-3)


def test_a_preset_says_what_it_set_until_the_slider_or_the_finding_changes(
    run: RunPaths, open_page: Open, said: Said
) -> None:
    app = _open_tab(open_page, run, "Threshold")
    scores = pd.read_parquet(run.validation_scores)
    targets, probabilities = (scores[[f"{part}_Lung nodule"]].to_numpy(float) for part in ("target", "prob"))
    assert "Threshold set to" not in said(app)
    for target, text in ((0.95, ".95"), (0.8, ".8")):
        app.number_input(key="threshold.target").set_value(target).run()
        button = app.button(key="use-sensitivity")
        assert button.label == f"Sensitivity ≥ {text}"
        button.click().run()
        chosen = choose_thresholds(targets, probabilities, f"sensitivity={target}").values[0]
        assert app.slider(key="threshold").value == pytest.approx(chosen, abs=1e-3)
        named = format_threshold(app.slider(key="threshold").value)
        assert f"Threshold set to **{named}**: sensitivity ≥ {text} on validation." in said(app)
    app.slider(key="threshold").set_value(0.123).run()
    assert "Threshold set to" not in said(app)
    app.button(key="preset-youden").click().run()
    assert "best Youden on test; do not report" in said(app)
    app.selectbox(key="finding").select("Emphysema").run()
    assert "Threshold set to" not in said(app)


def _write_scores_just_above(run: RunPaths, label: str, threshold: float) -> pd.DataFrame:
    """Put negatives of the test set between a threshold and the next one whose counts are stored."""
    bundle = run.evaluation("test")
    scores = pd.read_parquet(bundle.scores)
    targets = scores[f"target_{label}"].to_numpy(float)
    order = np.cumsum(targets == 0)
    near = threshold + 1e-5 * order
    values = np.where(targets == 1, 0.9, np.where(order % 3, near, threshold - 1e-5 * order))
    scores[f"prob_{label}"] = values
    scores.to_parquet(bundle.scores, index=False)
    counts_frame(targets[:, None], values[:, None], [label]).to_parquet(bundle.counts, index=False)
    return scores


@pytest.mark.parametrize("rule", ["sensitivity", "f1"])
def test_one_threshold_has_one_answer_in_cells_rates_rules_volumes_and_name(
    run: RunPaths, open_page: Open, said: Said, rule: str
) -> None:
    label = "Lung nodule"
    table = pd.read_parquet(run.validation_scores)
    targets, scores = (table[[f"{part}_{label}"]].to_numpy(float) for part in ("target", "prob"))
    chosen = float(choose_thresholds(targets, scores, f"{rule}=.95" if rule == "sensitivity" else rule).values[0])
    test = _write_scores_just_above(run, label, chosen)
    truth, called = test[f"target_{label}"].to_numpy(int), test[f"prob_{label}"].to_numpy() >= chosen
    tn, fp, fn, tp = confusion_matrix(truth, called).ravel()
    app = _open_tab(open_page, run, "Threshold")
    app.button(key=f"use-{rule}").click().run()
    counted = {"tn": tn, "fp": fp, "fn": fn, "tp": tp}
    for cell, count in counted.items():
        assert app.button(key=f"cell-{cell}").label.startswith(f"**{count}** "), cell
    rates = _table(app, "Rate").set_index("Rate")["Value [95 % CI]"]
    rules = _table(app, _RATES).set_index(_RATES)["Sensitivity ≥ .95" if rule == "sensitivity" else "Best F1"]
    for title, value in (
        ("Precision", tp / (tp + fp)),
        ("F1", 2 * tp / (2 * tp + fp + fn)),
        ("Specificity", tn / (tn + fp)),
    ):
        assert rates[title].startswith(format_metric(value))
        assert rules[title].split(" → ")[1].startswith(format_metric(value)), title
    value = app.slider(key="threshold").value
    assert len(format_threshold(value)) > 4 and rules["Threshold"] == format_threshold(value)
    assert app.slider(key="threshold").format == f"%.{len(format_threshold(value)) - 1}f"
    app.button(key="cell-fp").click().run()
    assert f"false positives** at threshold {format_threshold(value)}," in said(app)
    listed = next(frame.value for frame in app.dataframe if "volume" in frame.value)
    assert set(listed["volume"]) == set(test["volumename"][called & (truth == 0)])


def test_volumes_take_the_threshold_of_their_finding_and_can_go_back(
    run: RunPaths, open_page: Open, said: Said
) -> None:
    app = _open_tab(open_page, run, "Threshold")
    app.selectbox(key="finding").select("Emphysema").run()
    app.button(key="use-sensitivity").click().run()
    threshold = app.slider(key="threshold").value
    app.session_state["tab"] = "Volumes"
    app.session_state["volumes.kind"] = "false positives"
    app.run()
    assert not app.exception
    assert app.selectbox(key="volumes.finding").value == "Emphysema"
    name = format_threshold(threshold)
    assert f"{name} is set for Emphysema on *Threshold*: sensitivity ≥ .95 on validation." in said(app)
    scores = pd.read_parquet(run.evaluation("test").scores)
    false = scores["volumename"][(scores["target_Emphysema"] == 0) & (scores["prob_Emphysema"] >= threshold)]
    assert set(app.dataframe[0].value["volume"]) == set(false)
    app.selectbox(key="volumes.finding").select("Lung nodule").run()
    assert "on *Threshold*" not in said(app)  # no threshold is set for it
    app.selectbox(key="volumes.finding").select("Emphysema").run()
    app.button(key="volumes-reset").click().run()
    assert "on *Threshold*" not in said(app)
    app.session_state["tab"] = "Threshold"
    app.run()
    assert app.slider(key="threshold").value == 0.5


def test_a_threshold_stays_in_the_address_on_every_tab_until_it_is_set_back(run: RunPaths, open_page: Open) -> None:
    def in_address() -> tuple[str, ...]:
        held = (app.query_params.get(key, "") for key in ("finding", "threshold"))
        return tuple("".join(value) for value in held)

    app = _open_tab(open_page, run, "Threshold")
    app.selectbox(key="finding").select("Emphysema").run()
    app.slider(key="threshold").set_value(0.123).run()
    for tab in ("Volumes", "Curves", "Threshold", "Findings", "Volumes"):
        app.session_state["tab"] = tab
        app.run()
        assert not app.exception
        assert in_address() == ("Emphysema", "0.123"), tab
    app.selectbox(key="volumes.finding").select("Lung nodule").run()
    assert in_address() == ("Emphysema", "0.123")  # that of the threshold, not that of the list
    app.selectbox(key="volumes.finding").select("Emphysema").run()
    app.button(key="volumes-reset").click().run()
    app.run()
    assert in_address() == ("", "")


@pytest.mark.parametrize(("asked", "shown"), [("0.463", ".463"), ("much", ""), ("7", "")])
def test_an_address_with_a_threshold_is_that_of_its_volumes(
    run: RunPaths, open_page: Open, said: Said, asked: str, shown: str
) -> None:
    query = {"run": run.root.name, "tab": "Volumes", "finding": "emphysema", "threshold": asked}
    app = open_page("evaluate", query=query)
    assert not app.exception
    assert (f"{shown} is set for Emphysema on *Threshold*." in said(app)) == bool(shown)
    assert ("threshold" in app.session_state and app.session_state["threshold"] == 0.463) == bool(shown)


@pytest.mark.parametrize("value", ["the threshold chosen on validation", "chosen on validation", "x"])
def test_an_older_name_of_the_threshold_of_findings_is_known(
    run: RunPaths, open_page: Open, said: Said, value: str
) -> None:
    app = open_page("evaluate", query={"run": run.root.name, "findings.at": value})
    assert not app.exception
    assert ("findings.at=x is unknown" in said(app)) == (value == "x")
    assert ("unknown. Known" in said(app)) == (value == "x")


def test_presets_stand_above_the_counts_and_one_word_names_a_rate(run: RunPaths, open_page: Open, said: Said) -> None:
    app = _open_tab(open_page, run, "Threshold")
    keys = [button.key for button in app.button]
    assert max(map(keys.index, ("use-f1", "use-sensitivity", "preset-f1"))) < keys.index("cell-tp")
    tables = [str(table.value.to_dict()) + str(list(table.value)) for table in app.dataframe]
    assert sum(text.count("sensitivity") for text in tables) == 1  # beside its name, once
    assert "Recall (sensitivity)" in list(_table(app, "Rate")["Rate"])
    assert "Recall" in list(_table(app, _RATES)[_RATES])
    labels = {button.key: button.label for button in app.button}
    titles = ("Best F1", "Best F1 on test (not reportable)")
    assert (labels["use-f1"], labels["preset-f1"]) == titles  # one name for one rule
    assert "cross-fitted over its" in said(app)


def test_without_a_choice_on_validation_no_preset_offers_one(run: RunPaths, open_page: Open) -> None:
    tuning = json.loads(run.tuning.read_text(encoding="utf-8"))
    tuning["reasons"] = {"Lung nodule": "no positives"}
    run.tuning.write_text(json.dumps(tuning), encoding="utf-8")
    keys = [button.key for button in _open_tab(open_page, run, "Threshold").button]
    assert "preset-5" in keys and "use-f1" not in keys


def test_the_rates_at_the_slider_are_those_of_the_scores_and_say_why_they_have_no_interval(
    run: RunPaths, open_page: Open
) -> None:
    app = _open_tab(open_page, run, "Threshold")
    scores = pd.read_parquet(run.evaluation("test").scores)
    threshold = round(float(scores["prob_Lung nodule"].median()), 3)
    app.slider(key="threshold").set_value(threshold).run()
    shown = _table(app, "Rate").set_index("Rate")
    y, called = scores["target_Lung nodule"].to_numpy(int), scores["prob_Lung nodule"].to_numpy() >= threshold
    expected = {
        "Recall (sensitivity)": called[y == 1].mean(),
        "Specificity": (~called)[y == 0].mean(),
        "NPV": 1 - y[~called].mean(),
    }
    for title, value in expected.items():
        assert float(shown.loc[title, "Value [95 % CI]"].split()[0]) == pytest.approx(value, abs=5e-4), title
        assert "an interval needs 10" in shown.loc[title, "Note"]  # twelve patients in all


def test_notes_on_the_metrics_of_findings_stand_with_them_alone(run: RunPaths, open_page: Open, said: Said) -> None:
    for tab in ("Findings", "Curves", "Threshold", "Calibration", "Volumes"):
        app = _open_tab(open_page, run, tab)
        assert ("validation − test: AUPRC" in said(app)) == (tab == "Findings"), tab


def test_curves_say_what_their_marks_are_and_name_a_rate_once(run: RunPaths, open_page: Open, said: Said) -> None:
    app = _open_tab(open_page, run, "Curves")
    assert "**Circle**: threshold .5. **Diamond**: threshold chosen on validation." in said(app)
    assert ("**Band**" in said(app)) == any(trace.get("fill") for plot in _charts(app) for trace in plot["data"])
    precision, roc = (plot["layout"] for plot in _charts(app))
    titles = [axis["title"]["text"] for plot in (precision, roc) for axis in (plot["xaxis"], plot["yaxis"])]
    assert titles == ["recall", "precision", "false positive rate", "recall (sensitivity)"]
    assert precision["margin"]["r"] == roc["margin"]["r"]  # both have the same axes


def test_bands_are_drawn_where_they_can_be_given(run: RunPaths, open_page: Open) -> None:
    bands = pd.read_parquet(run.evaluation("test").bands)
    filled = [
        trace for plot in _charts(_open_tab(open_page, run, "Curves")) for trace in plot["data"] if trace.get("fill")
    ]
    assert len(filled) == bands.groupby(["label", "curve"]).ngroups


def test_the_page_says_its_disclosures_once_and_every_picture_repeats_them(
    run: RunPaths, open_page: Open, said: Said
) -> None:
    evaluate_run(run.root)
    for tab in ("Findings", "Curves", "Threshold", "Calibration", "Subgroups"):
        app = _open_tab(open_page, run, tab)
        charts = _charts(app)
        assert charts
        for part in ("24 volumes", "evaluated 2 times", "label origin: report-derived"):
            assert said(app).count(part) == 1, tab
            for plot in charts:
                assert "title" not in plot["layout"], tab
                text = plot["layout"]["meta"]["picture"]["title"]["text"]
                assert part in text.replace("</span><br><span style='font-weight:400'>", " "), tab


def test_the_paper_tab_offers_the_files_of_the_export(run: RunPaths, open_page: Open, said: Said) -> None:
    from ctbench_core.report import run_paper

    app = _open_tab(open_page, run, "Paper")
    files = run_paper(open_run(run.root), "test")
    assert app.code[-1].value.strip() == files["table.tex"].strip()
    caption = next(line for line in files["table.tex"].splitlines() if line.startswith("\\caption"))
    assert "evaluated 1 time by 1 run of this run store" in caption
    methods = next(box for box in app.expander if box.label == "Methods")  # below the table, and folded
    assert not methods.proto.expanded and "Thresholds of highest F1 were chosen" in methods.markdown[0].value
    assert "This test set was evaluated 1 time by 1 run" in said(app)


def test_a_test_set_of_another_data_set_shows_both_prevalences_and_recalibration(
    store: Path, data: Path, make_config: Callable[..., Config], tmp_path: Path, open_page: Open, said: Said
) -> None:
    folder = Path(run_experiment(make_config(data, {"paths.outputs_root": str(store)}))["run_dir"])
    table = pd.read_csv(data / "manifests" / "test.csv")
    table = table.rename(columns={"Lung nodule": "nodule", "Lung opacity": "opacity", "Emphysema": "mass"})
    (tmp_path / "other").mkdir()
    table.assign(groundglass=0).to_csv(tmp_path / "other" / "rad.csv", index=False)
    config = open_run(folder).config.copy()
    config.paths.manifest_dir, config.data.test_manifests = str(tmp_path / "other"), ["rad.csv"]
    config.data.labels.rename, config.data.labels.only = "@ctrate-to-radchestct", ["Lung nodule", "Lung opacity"]
    evaluate_run(folder, config=config)
    app = _open_tab(open_page, RunPaths(folder), "Calibration")
    shown = _table(app, "prevalence_train").set_index("Finding")
    assert shown["Columns"].tolist() == ["nodule", "groundglass or opacity"]
    assert shown.loc["Lung nodule", "prevalence"] == pytest.approx(table["nodule"].mean())
    trained = pd.read_csv(data / "manifests" / "train.csv")["Lung nodule"].mean()
    assert (shown.loc["Lung nodule", "prevalence_train"], shown.loc["Lung nodule", "labelled"]) == (trained, 24)
    text = said(app)
    assert "Emphysema (left out by data.labels.only)" in text and "mass (Larger than a nodule" in text
    assert "recalibrated for this test set's prevalence: uses its labels" in text
    assert list(_table(app, "before")) == ["Metric", "before", "after (Platt)", "recalibrated"]
    assert "recalibrated" in {trace.get("name") for trace in _charts(app)[0]["data"]}


def test_the_second_analysis_shows_what_is_stored_once_it_is_opened(run: RunPaths, open_page: Open) -> None:
    app = _open_tab(open_page, run, "Findings")
    closed = len(app.dataframe)
    app.session_state["one-volume-box"] = True
    app.run()
    assert len(app.dataframe) == closed + 1
    stored = json.loads(run.evaluation("test").metrics.read_text(encoding="utf-8"))["one_volume_a_patient"]
    table = app.dataframe[closed].value.set_index("finding")
    for label, metrics in stored["per_class"].items():
        assert table.loc[label, "support"] == metrics["support"]
        assert table.loc[label, "auprc"] == pytest.approx(metrics["auprc"], nan_ok=True)
