"""Evaluate, Alignment, Runs and Home show the stored metrics; a run is evaluated on test only on request."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from streamlit.testing.v1 import AppTest

from ctbench_core.config import Config
from ctbench_core.evaluate import ScoreOptions, evaluate_run, score_table
from ctbench_core.experiment import run_experiment
from ctbench_core.formatting import format_interval, format_metric
from ctbench_core.jobs import get_runner
from ctbench_core.manifest import read as manifest_read
from ctbench_core.manifest import split_column
from ctbench_core.runs import disclosures_of, evaluations_of, open_run, write_status
from ctbench_core.tables import read_table
from ctbench_ui.shared.cache import run_row

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]
Align = Callable[[AppTest], AppTest]


@pytest.fixture
def trained(small_run: dict[str, Any], open_page: Open, train: Callable[[AppTest], Path]) -> Path:
    """Return the directory of a finished run."""
    return train(open_page("train", small_run))


def _evaluated(open_page: Open, run: Path) -> AppTest:
    app = open_page("evaluate", query={"run": run.name})
    app.button(key="evaluate").click().run()
    assert not app.exception
    return app


def _cards(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_a_visit_evaluates_nothing_on_test(trained: Path, open_page: Open, store: Path) -> None:
    app = open_page("evaluate", query={"run": trained.name})
    assert not app.exception
    assert not (store / "evaluations.jsonl").exists()
    assert not app.metric


def test_validation_is_shown_before_a_test_is_evaluated(
    trained: Path, open_page: Open, store: Path, said: Said
) -> None:
    app = open_page("evaluate", query={"run": trained.name})
    app.button(key="evaluate-validation").click().run()
    assert not app.exception
    metrics = json.loads((trained / "validation" / "metrics.json").read_text())
    assert _cards(app)["Macro AUPRC"].startswith(format_metric(metrics["auprc"]))
    assert "it chose the epoch" in said(app)
    assert [tab.label for tab in app.tabs] == [
        *("Findings", "Curves", "Threshold", "Calibration", "Subgroups", "Volumes")
    ]
    assert not (store / "evaluations.jsonl").exists()
    for name in ("Threshold", "Calibration"):
        shown = open_page("evaluate", query={"run": trained.name, "tab": name})
        assert not shown.exception and "on test" not in said(shown).lower().replace("evaluate on test", "")
    # The test set that is evaluated next is shown in its place.
    app.button(key="evaluate").click().run()
    assert _cards(app)["Macro AUPRC"].startswith(
        format_metric(json.loads((trained / "evaluation" / "test" / "metrics.json").read_text())["auprc"])
    )
    assert "it chose the epoch" not in said(app)


def test_an_evaluated_test_set_shows_the_stored_metrics(trained: Path, open_page: Open, store: Path) -> None:
    app = _evaluated(open_page, trained)
    assert len((store / "evaluations.jsonl").read_text().splitlines()) == 1
    folder = trained / "evaluation" / "test"
    metrics = json.loads((folder / "metrics.json").read_text())
    cards = _cards(app)
    assert float(cards["Macro AUPRC"]) == pytest.approx(metrics["auprc"], abs=5e-4)
    assert float(cards["Macro AUROC"]) == pytest.approx(metrics["auroc"], abs=5e-4)
    assert float(cards["Macro F1, tuned"].split()[0]) == pytest.approx(metrics["f1_tuned"], abs=5e-4)
    stored = pd.read_csv(folder / "per_class.csv").set_index("finding")
    for at, ending in (("tuned", "_tuned"), (".5", "")):
        app.session_state["findings.at"] = at
        app.run()
        shown = app.dataframe[0].value.set_index("finding")
        for name in ("auprc", "auroc", "support", "prevalence"):
            pd.testing.assert_series_equal(shown[name], stored[name])
        for name in ("precision", "recall", "f1"):
            pd.testing.assert_series_equal(shown[name], stored[f"{name}{ending}"], check_names=False)
    assert (shown["threshold"] == 0.5).all()


def test_text_inputs_carry_the_banner_of_leakage(
    small_run: dict[str, Any], open_page: Open, train: Callable[[AppTest], Path], said: Said
) -> None:
    def evaluated(inputs: str) -> str:
        return said(_evaluated(open_page, train(open_page("train", small_run | {"model.inputs": inputs}))))

    assert "not diagnosis" in evaluated("text")
    assert "not diagnosis" not in evaluated("visual")


def test_a_run_of_a_fold_offers_its_held_out_fold(
    small_run: dict[str, Any], open_page: Open, train: Callable[[AppTest], Path]
) -> None:
    fold = {"data.kfold.folds": 3, "data.kfold.fold": 1}
    run = train(open_page("train", small_run | fold))
    app = open_page("evaluate", query={"run": run.name})
    assert app.multiselect(key=f"tests-{run.name}").value == ["fold_1"]
    app.button(key="evaluate").click().run()
    assert not app.exception
    assert (run / "evaluation" / "fold_1" / "metrics.json").is_file()


def test_the_curves_are_the_stored_ones(trained: Path, open_page: Open, labels: list[str]) -> None:
    app = _evaluated(open_page, trained)
    app.session_state["tab"] = "Curves"
    app.run()
    assert not app.exception
    charts = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    names = {trace.get("name", "").rsplit(" ", 1)[0] for chart in charts for trace in chart["data"]}
    assert set(labels) <= names


def test_the_volumes_are_sorted_by_how_wrong(trained: Path, open_page: Open) -> None:
    app = _evaluated(open_page, trained)
    app.session_state["tab"] = "Volumes"
    app.run()
    assert not app.exception
    table = app.dataframe[0].value
    assert table["error"].astype(float).is_monotonic_decreasing
    assert len(table) == 24
    assert all(re.fullmatch(r"(1|)\.\d{3}", text) for text in (*table["probability"], *table["error"]))


def _open_tab(app: AppTest, tab: str) -> AppTest:
    app.session_state["tab"] = tab
    app.run()
    assert not app.exception
    return app


@pytest.fixture
def predictions(store: Path, tmp_path: Path) -> pd.DataFrame:
    """Store a table of predictions as a run: 60 patients, one finding with too few positives for an interval."""
    rng = np.random.default_rng(11)
    frame = pd.DataFrame({"VolumeName": [f"test_{p}_a_1" for p in range(1, 61)]})
    for label, share in (("Emphysema", 0.4), ("Hernia", 0.05), ("Nothing", 0.0)):
        frame[f"target_{label}"] = (np.arange(60) < 60 * share).astype(int)
        frame[f"prob_{label}"] = (rng.random(60) * 0.7 + frame[f"target_{label}"] * 0.25).round(3)
    frame.to_parquet(tmp_path / "predictions.parquet")
    config = Config()
    config.paths.outputs_root, config.job_name = str(store), "score"
    score_table(tmp_path / "predictions.parquet", ScoreOptions(name="external"), config)
    return frame


def test_predictions_are_shown_beside_trained_runs(
    predictions: pd.DataFrame, trained: Path, open_page: Open, store: Path, said: Said
) -> None:
    app = open_page("evaluate")
    options = app.selectbox(key="run").options
    assert len(options) == 2
    assert app.selectbox(key="run").value == next(store.glob("score/2*")).name  # the newest with results
    assert any("external · predictions" in option for option in options)
    app = open_page("evaluate", query={"run": next(store.glob("score/2*")).name})
    assert not app.exception
    assert "predictions: 60 volumes / 60 exams / 60 patients · predictions from a table" in said(app)
    assert not [button for button in app.button if button.key == "evaluate"]


def test_a_link_leads_to_its_run_and_a_choice_is_put_into_it(
    predictions: pd.DataFrame, trained: Path, open_page: Open, store: Path
) -> None:
    scored = next(store.glob("score/2*")).name
    for name, other in ((trained.name, scored), (scored, trained.name)):
        app = open_page("evaluate", query={"run": name})
        assert app.selectbox(key="run").value == name
        app.selectbox(key="run").set_value(other).run()
        assert not app.exception
        assert app.selectbox(key="run").value == other
        assert app.query_params["run"] in (other, [other])
    app = open_page("evaluate", query={"run": "gone"})
    assert app.error[0].proto.title == "This run is not in the store"
    assert not app.selectbox
    app.button(key="address-clear").click().run()
    assert app.selectbox(key="run").value in (trained.name, scored)


@pytest.mark.parametrize("findings", [["Emphysema"], ["Emphysema", "Hernia"]])
def test_cards_show_the_one_macro_of_the_run_with_its_interval(
    predictions: pd.DataFrame, open_page: Open, store: Path, tmp_path: Path, findings: list[str]
) -> None:
    columns = ["VolumeName", *(f"{part}_{name}" for name in findings for part in ("target", "prob"))]
    predictions[columns].to_parquet(tmp_path / "own.parquet")
    config = Config()
    config.paths.outputs_root, config.job_name = str(store), "own"
    score_table(tmp_path / "own.parquet", ScoreOptions(name="own"), config)
    folder = next(store.glob("own/2*"))
    stored = json.loads((folder / "evaluation" / "own" / "metrics.json").read_text())
    cards = _cards(open_page("evaluate", query={"run": folder.name}))
    for key, title in (("auprc", "AUPRC"), ("auroc", "AUROC"), ("f1_macro", "F1")):
        macro = stored["macro"][key]
        bounds = [np.nan if bound is None else bound for bound in (macro["lo"], macro["hi"])]
        shown = next(text for name, text in cards.items() if name.startswith(f"Macro {title}"))
        assert shown == format_interval(macro["value"], bounds)
        assert ("[" in shown) == (len(findings) == 1)
    row = run_row(open_run(folder))
    assert row["tests"]["own"] == stored["auprc"]
    assert (row["test_intervals"].get("own") or [None, None]) == stored["auprc_ci"]


def test_intervals_and_undefined_metrics_are_shown(
    predictions: pd.DataFrame, open_page: Open, store: Path, said: Said
) -> None:
    app = open_page("evaluate")
    metrics = json.loads(next(store.glob("score/*/evaluation/predictions/metrics.json")).read_text())
    assert float(_cards(app)["Macro AUROC"]) == pytest.approx(metrics["auroc"], abs=5e-4)  # Hernia has no interval
    eligible = metrics["macro"]["auroc_eligible"]
    shown = re.search(r"AUROC over the (\d+) eligible findings?: (\S+) \\\[(\S+), (\S+)\\\]", said(app))
    assert shown and int(shown[1]) == eligible["findings"] == 1
    values = [float(shown[place].strip(";")) for place in (2, 3, 4)]
    assert values == pytest.approx([eligible["value"], eligible["lo"], eligible["hi"]], abs=5e-4)
    assert "AUPRC defined for 2 of 3 findings" in said(app)
    table = app.dataframe[0].value.set_index("finding")
    assert table.loc["Emphysema", "auprc_ci"].startswith("[.")
    assert pd.isna(table.loc["Hernia", "auprc_ci"])
    assert pd.isna(table.loc["Nothing", "auprc"])
    assert metrics["undefined"]["Nothing"] in table.loc["Nothing", "note"]
    assert metrics["undefined"]["Nothing"] in said(app)


@pytest.mark.parametrize("kept", [True, False], ids=["stored counts", "a bundle from before counts were kept"])
def test_the_threshold_moves_the_counts(predictions: pd.DataFrame, open_page: Open, store: Path, kept: bool) -> None:
    if not kept:
        next(store.glob("score/*/evaluation/predictions/counts.parquet")).unlink()
    app = _open_tab(open_page("evaluate"), "Threshold")
    positive, scores = predictions["target_Emphysema"] == 1, predictions["prob_Emphysema"]
    for threshold in (0.5, 0.123, 0.0, 1.0):
        app.slider(key="threshold").set_value(threshold).run()
        assert not app.exception
        called = scores >= threshold
        expected = {
            "tp": positive & called,
            "fn": positive & ~called,
            "fp": ~positive & called,
            "tn": ~positive & ~called,
        }
        for cell, mask in expected.items():
            assert app.button(key=f"cell-{cell}").label.startswith(f"**{mask.sum()}** ")


def test_a_confusion_cell_shows_its_volumes_most_wrong_first(predictions: pd.DataFrame, open_page: Open) -> None:
    app = _open_tab(open_page("evaluate"), "Threshold")
    app.button(key="cell-fn").click().run()
    assert not app.exception
    shown = next(table.value for table in app.dataframe if "volume" in table.value)
    missed = predictions[(predictions["target_Emphysema"] == 1) & (predictions["prob_Emphysema"] < 0.5)]
    assert shown["volume"].tolist() == missed.sort_values("prob_Emphysema", kind="stable")["VolumeName"].tolist()
    assert shown["error"].astype(float).is_monotonic_decreasing
    app.button(key="cell-fn").click().run()
    assert not any("volume" in table.value for table in app.dataframe)


def test_hindsight_thresholds_are_labelled(predictions: pd.DataFrame, open_page: Open, said: Said) -> None:
    app = _open_tab(open_page("evaluate"), "Threshold")
    assert app.button(key="preset-f1").label == "Best F1 on test (not reportable)"
    assert "chosen on these volumes; do not report" in said(app)
    app.button(key="preset-f1").click().run()
    truth, scores = predictions["target_Emphysema"], predictions["prob_Emphysema"]
    best = max(f1_score(truth, scores >= threshold) for threshold in scores)
    rates = app.dataframe[0].value
    row = rates[rates.isin(["F1"]).any(axis=1)].astype(str).iloc[0]
    assert any(format_metric(best) in cell for cell in row), row.tolist()


def test_a_finding_without_positives_has_no_threshold(predictions: pd.DataFrame, open_page: Open, said: Said) -> None:
    app = _open_tab(open_page("evaluate"), "Threshold")
    app.selectbox(key="finding").select("Nothing").run()
    assert not app.exception
    assert "no positives or no negatives" in said(app)


def test_every_finding_has_a_panel(predictions: pd.DataFrame, open_page: Open) -> None:
    app = _open_tab(open_page("evaluate"), "Curves")
    for kind, count in (("pr", 1), ("roc", 1), ("chosen", 2)):
        app.session_state["curves.kind"] = kind
        app.run()
        assert not app.exception
        assert len(app.get("plotly_chart")) == count


def test_volumes_are_filtered_by_error_and_name(predictions: pd.DataFrame, open_page: Open) -> None:
    app = _open_tab(open_page("evaluate"), "Volumes")
    app.session_state["volumes.kind"] = "false positives"
    app.run()
    alarms = predictions[(predictions["target_Emphysema"] == 0) & (predictions["prob_Emphysema"] >= 0.5)]
    assert set(app.dataframe[0].value["volume"]) == set(alarms["VolumeName"])
    app.session_state["volumes.kind"] = "all"
    app.text_input(key="volumes.text").set_value("TEST_6").run()
    assert set(app.dataframe[0].value["patient"]) == {"test_6", "test_60"}


def test_the_ledger_counts_the_runs_evaluated_on_a_test_set(
    small_run: dict[str, Any], open_page: Open, train: Callable[[AppTest], Path], said: Said
) -> None:
    first = train(open_page("train", small_run))
    assert "evaluated 1 time by 1 run of this run store · " in said(_evaluated(open_page, first))
    second = train(open_page("train", small_run | {"utils.seed": 1}))
    app = open_page("evaluate", query={"run": second.name})
    assert "1 other run was evaluated on it" in said(app)
    app.button(key="evaluate").click().run()
    assert "evaluated 2 times by 2 runs of this run store; this is the 2nd run · " in said(app)
    assert evaluations_of(open_run(first), "test") == "; this is the 1st run"


def test_results_of_an_older_epoch_are_marked_and_evaluated_again(
    trained: Path, open_page: Open, store: Path, said: Said
) -> None:
    app = _evaluated(open_page, trained)
    assert not [button for button in app.button if button.key == "open-again"]
    before = open_run(trained).best()["epoch"]
    of_before = json.loads((trained / "validation" / "tuning.json").read_text())
    run = open_run(trained)
    run.paths.config.write_text(run.paths.config.read_text().replace("max_epochs: 3", "max_epochs: 12"))
    write_status(run.paths.status, run.status, state="cancelled")
    get_runner().resume(trained)
    assert get_runner().wait(trained, 60)
    after = open_run(trained).best()
    assert after["epoch"] > before

    app = open_page("evaluate", query={"run": trained.name})
    assert f"of epoch {before}. The run was trained further: its best epoch is now {after['epoch']}" in said(app)
    assert len((store / "evaluations.jsonl").read_text().splitlines()) == 1
    marks, best = disclosures_of([open_run(trained)], "test"), after["epoch"]
    assert (
        marks.columns()["warning"]
        == f"{trained.name}: metrics of epoch {before}; trained further since, the best epoch is now {best}"
    )
    assert marks.to_json()["warning"] == f"{marks.warning}."
    assert open_page("home").dataframe[0].value["test"].iloc[0].endswith(" ⟳")
    app.button(key="open-again").click().run()
    assert not app.exception
    assert "trained further" not in said(app)
    assert disclosures_of([open_run(trained)], "test").warning == ""
    assert pd.read_csv(trained / "evaluation" / "test" / "per_class.csv")["warning"].isna().all()
    assert not open_page("home").dataframe[0].value["test"].iloc[0].endswith(" ⟳")
    assert len((store / "evaluations.jsonl").read_text().splitlines()) == 2
    assert json.loads((trained / "evaluation" / "test" / "metrics.json").read_text())["best_epoch"] == after["epoch"]
    tuning = json.loads((trained / "validation" / "tuning.json").read_text())
    assert tuning["thresholds"] != of_before["thresholds"]
    assert tuning["validation"]["auprc"] == pytest.approx(after["val_metrics"]["auprc"], abs=1e-6)


def test_results_of_a_leaking_test_set_are_marked(
    small_run: dict[str, Any],
    data: Path,
    rewrite: Callable[..., None],
    open_page: Open,
    train: Callable[[AppTest], Path],
    said: Said,
) -> None:
    rewrite(data / "manifests" / "test.csv", lambda rows: rows[1].__setitem__(0, "train_3_a_1"))
    run = train(open_page("train", small_run))
    assert open_run(run).status.state == "finished"
    app = _evaluated(open_page, run)
    assert "leak: 1 patient]" in said(app)
    listed = open_page("runs").dataframe[0].value
    assert "⚠" in listed.loc[0, "test"]


def test_a_link_leads_to_its_test_set(trained: Path, data: Path, open_page: Open, said: Said) -> None:
    shutil.copy(data / "manifests" / "test.csv", data / "manifests" / "other.csv")
    evaluate_run(trained, ["test.csv", "other.csv"])
    for name in ("other", "test"):
        app = open_page("evaluate", query={"run": trained.name, "test": name})
        assert f"{name}: 24 volumes" in said(app)
    app.segmented_control(key=f"test-{trained.name}").set_value("other").run()
    assert not app.exception
    assert app.query_params["test"] in ("other", ["other"])


def test_a_missing_test_manifest_is_named(trained: Path, data: Path, open_page: Open, said: Said) -> None:
    app = open_page("evaluate", query={"run": trained.name})
    (data / "manifests" / "test.csv").unlink()
    app.button(key="evaluate").click().run()
    assert not app.exception
    assert "test.csv does not exist" in said(app)


def test_alignment_shows_the_stored_metrics(
    places: dict[str, str], open_page: Open, align: Align, store: Path, said: Said
) -> None:
    app = align(open_page("alignment", places))
    (path,) = store.glob("align/*/alignment/test/metrics.json")
    metrics = json.loads(path.read_text())
    assert [table.value.columns[0] for table in app.dataframe] == ["Metric", "Metric"]
    for table, start in zip(app.dataframe, ("", "semantic_")):
        shown = table.value.set_index("Metric")
        for way, title in (("v_to_t", "volume → report"), ("t_to_v", "report → volume")):
            recall, _, bounds = shown.loc["Recall@1", title].partition(" ")
            lower, upper = metrics["intervals"][f"{start}{way}_recall_at_1"]
            assert [float(bound) for bound in bounds.strip("[]").split(", ")] == pytest.approx([lower, upper], abs=5e-4)
            assert float(recall) == pytest.approx(metrics[f"{start}{way}_recall_at_1"], abs=5e-4)
            assert float(shown.loc["MRR", title].split()[0]) == pytest.approx(metrics[f"{start}{way}_mrr"], abs=5e-4)
        chances = [metrics[f"{start}{way}_chance_at_5"] for way in ("v_to_t", "t_to_v")]
        names = ["Chance", "Chance"] if "Chance" in shown else ["Chance →", "Chance ←"]  # once where both are equal
        assert [float(shown.loc["Recall@5", name]) for name in names] == pytest.approx(chances, abs=5e-4)
    assert len(app.get("plotly_chart")) == 4
    assert "24 pairs · test: 24 volumes / 12 exams / 12 patients" in said(app)


def test_every_alignment_is_kept_and_can_be_chosen(places: dict[str, str], open_page: Open, align: Align) -> None:
    app = align(open_page("alignment", places))
    app.session_state["analysis.truth"] = "labels"
    app = align(app)
    (result,) = (box for box in app.selectbox if box.label == "Result")
    assert len(result.options) == 2
    assert "hit: same label vector" in result.options[0]
    assert len(app.get("plotly_chart")) == 2
    result.select_index(1).run()
    assert len(app.get("plotly_chart")) == 4


def test_a_link_leads_to_its_alignment(places: dict[str, str], open_page: Open, align: Align, store: Path) -> None:
    align(align(open_page("alignment", places)))
    for folder in store.glob("align/2*"):
        app = open_page("alignment", places, query={"result": folder.name})
        (result,) = (box for box in app.selectbox if box.label == "Result")
        assert Path(result.value).parent == folder
    app = result.select_index(1 - result.index).run()
    assert not app.exception
    (result,) = (box for box in app.selectbox if box.label == "Result")
    other = Path(result.value).parent
    assert other != folder
    assert app.query_params["result"] in (other.name, [other.name])


def test_alignment_without_reports_names_the_column(
    places: dict[str, str], data: Path, rewrite: Callable[..., None], open_page: Open, said: Said, store: Path
) -> None:
    rewrite(data / "manifests" / "test.csv", lambda rows: rows[0].__setitem__(2, "note_path"))
    app = open_page("alignment", places)
    app.button(key="measure").click().run()
    assert not app.exception
    assert "text_feature_path" in said(app)
    assert not list(store.glob("align/*"))


def test_a_table_divided_by_a_column_is_read_once(
    store: Path, data: Path, make_config: Callable[..., Config], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data / "manifests"
    parts = [pd.read_csv(folder / f"{name}.csv").assign(Split=name) for name in ("train", "valid", "test")]
    pd.concat(parts).to_csv(folder / "all.csv", index=False)
    keys = {"paths.outputs_root": str(store), "data.train_manifest": "all.csv", "data.columns.split": "Split"}
    run = Path(run_experiment(make_config(data, keys))["run_dir"])
    tables: list[str] = []

    def read(path: Path) -> Any:
        tables.append(path.name)
        return read_table(path)

    monkeypatch.setattr(manifest_read, "read_table", read)
    monkeypatch.setattr(split_column, "read_table", read)
    app = open_page("evaluate", query={"run": run.name, "test": "validation"})
    assert not app.exception
    (field,) = [field for field in app.multiselect if field.label == "Test manifests"]
    assert field.value == ["test"]
    assert tables.count("all.csv") == 1
