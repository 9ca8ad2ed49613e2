"""The Python API returns the numbers that the command line prints and stores, as tables, figures and a summary."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ctbench_core
import ctbench_core.api as ct
from ctbench_core.api.settings import with_settings
from ctbench_core.cli.compose import compose_config
from ctbench_core.config import model_groups
from ctbench_core.runs import Ledger, read_result_csv
from tests.conftest import SMALL_RUN


@dataclasses.dataclass(frozen=True)
class Reports:
    """One of every report on the tiny data, in a run store of its own."""

    data: ct.DataReport
    runs: list[ct.TrainingReport]
    evaluations: list[ct.EvaluationReport]
    alignment: ct.AlignmentReport


@pytest.fixture(scope="module")
def reports(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Reports:
    outputs = tmp_path_factory.mktemp("store") / "outputs"
    places = {"paths.outputs_root": str(outputs), "logging.run_name": None}
    data = ct.load(tiny_data / "features", tiny_data / "manifests", {**SMALL_RUN, **places})
    runs = [ct.train(data, {"logging.run_name": "<b>mlp</b>"}), ct.train(data, {"model": "linear_probe"})]
    return Reports(data, runs, [ct.evaluate(run) for run in runs], ct.align(data, {"data.train_manifest": "test.csv"}))


def _same(ours: Any, theirs: Any) -> bool:
    """Whether two values of a JSON are equal; null is NaN."""
    if theirs is None or isinstance(theirs, float):
        return math.isclose(ours, math.nan if theirs is None else theirs, rel_tol=1e-12) or (
            theirs is None and math.isnan(ours)
        )
    return bool(ours == theirs)


def test_load_is_what_check_reports(reports: Reports, cli: Callable[..., Any], overrides: list[str]) -> None:
    printed = cli("check", *overrides).json
    splits = reports.data.splits.set_index("split")
    assert splits.to_dict("index") == printed["counts"]
    assert reports.data.findings.set_index("finding").to_dict() == printed["prevalence"]
    train = reports.data.manifest("train")
    assert (len(train), reports.data.features("train").shape) == (60, (60, 16))
    np.testing.assert_array_equal(
        reports.data.features("test")[0],
        np.load(Path(reports.data.config.paths.data_root) / "image" / "test_1_a.npz")["arr_0"][0],
    )
    with pytest.raises(ct.CtbenchError, match=r"Unknown split 'tset'.*test"):
        reports.data.manifest("tset")


def test_training_is_that_of_the_command_line(reports: Reports, cli: Callable[..., Any], overrides: list[str]) -> None:
    printed = cli("train", *overrides).json
    assert reports.runs[0].validation.set_index("metric")["value"].to_dict() == printed["best_val"]
    history = reports.runs[0].history
    assert (len(history), history["train_loss"].notna().all()) == (printed["epochs"], True)


def test_evaluation_is_what_the_command_line_stores(reports: Reports, cli: Callable[..., Any]) -> None:
    report = reports.evaluations[0]
    printed = cli("evaluate", f"run={reports.runs[0].run_dir}").json["test"]["test.csv"]
    macro = report.macro.set_index("metric")
    for key in ("auprc", "auroc", "f1_macro"):
        assert all(_same(macro.loc[key, part], printed["macro"][key][part]) for part in ("value", "lo", "hi"))
    again = ct.open_evaluation(reports.runs[0].run_dir)
    stored = read_result_csv(reports.runs[0].run.paths.evaluation("test").per_class)
    ours = again.findings.drop(columns="set")
    assert list(ours) == list(stored)
    numbers = list(ours.select_dtypes("number"))
    assert len(numbers) > 20
    np.testing.assert_allclose(ours[numbers].astype(float), stored[numbers].astype(float), rtol=1e-12)
    assert again.findings["test_openings"].iloc[0] == 3  # twice by this run, once by the other
    assert len(again.predictions()) == 24
    assert again.methods().startswith("A head")


def test_evaluation_on_validation_is_that_of_the_command_line(reports: Reports, cli: Callable[..., Any]) -> None:
    run = reports.runs[1]
    openings = (run.run.store / "evaluations.jsonl").read_text()
    report = ct.evaluate(run, on="validation")
    printed = cli("evaluate", f"run={run.run_dir}", "on=validation").json["validation"]
    assert report.sets == ["validation"]
    assert _same(report.macro.set_index("metric").loc["auroc", "value"], printed["auroc"])
    assert len(report.predictions()) == 28
    assert (run.run.store / "evaluations.jsonl").read_text() == openings
    assert ct.open_evaluation(run).sets == ["test", "validation"]
    with pytest.raises(ct.CtbenchError, match="Unknown set"):
        ct.evaluate(run, on="train")  # type: ignore[arg-type]


def test_opening_an_evaluation_counts_no_further_one(reports: Reports) -> None:
    run = reports.runs[1]
    count = lambda: len(Ledger(run.run.store).openings_of([run_id]))  # noqa: E731
    run_id = ct.open_evaluation(run).disclosures["test"].test_set
    before = count()
    assert before >= 2
    ct.open_evaluation(run)
    ct.compare(reports.runs)
    assert count() == before


def test_a_run_without_an_evaluation_says_how_to_get_one(reports: Reports) -> None:
    with pytest.raises(ct.CtbenchError, match=r"has no evaluation. Evaluate the run first: evaluate\(run\)"):
        ct.open_evaluation(reports.alignment.run.paths.root)


def test_comparison_is_that_of_the_command_line(reports: Reports, cli: Callable[..., Any]) -> None:
    folders = [run.run_dir for run in reports.runs]
    printed = cli("compare", *map(str, folders), "margin=.1").json
    report = ct.compare([reports.runs[0], str(folders[1])], margin=0.1)
    assert len(report.differences) == len(printed["differences"]) > 2
    for ours, theirs in zip(report.differences.to_dict("records"), printed["differences"]):
        assert all(
            _same(ours[name], theirs[name]) for name in ("a", "metric", "label", "delta", "lo", "p_adjusted", "margin")
        )
    assert report.methods().startswith("Heads (MLP")
    with pytest.raises(ct.CtbenchError, match="Unknown way to compare"):
        ct.compare(folders, by="seed")  # type: ignore[arg-type]


def test_alignment_is_that_of_the_command_line(reports: Reports, cli: Callable[..., Any], overrides: list[str]) -> None:
    printed = cli("align", *overrides, "data.train_manifest=test.csv").json
    report = reports.alignment
    ours = report.metrics.set_index("figure")["value"]
    assert len(ours) > 50
    left = {"seconds", "peak_gib"}
    assert all(_same(value, printed[name]) for name, value in ours.items() if name not in left)
    pd.testing.assert_frame_equal(report.recall, read_result_csv(report.run.paths.alignment("test") / "recall.csv"))


def test_settings_mean_what_they_mean_on_the_command_line() -> None:
    for head in model_groups():
        composed = compose_config([f"model={head}", "training.learning_rate=0.5"]).config
        ours = with_settings(ct.Config(), {"model": head, "training.learning_rate": 0.5})
        assert ours.to_dict() == composed.to_dict(), head
    with pytest.raises(ct.CtbenchError, match=r"Unknown key 'learning_rate'. Did you mean training.learning_rate"):
        with_settings(ct.Config(), {"learning_rate": 1})
    config = ct.Config()
    with_settings(config, {"utils.seed": 7})
    assert config.utils.seed != 7


def test_summaries_show_the_numbers_and_escape_names(reports: Reports) -> None:
    comparison = ct.compare(reports.runs)
    every = [reports.data, *reports.runs, *reports.evaluations, comparison, reports.alignment]
    html = [report._repr_html_() for report in every]
    assert all("<table>" in text for text in html)
    assert not any("<b>mlp</b>" in text for text in html)
    assert any("&lt;b&gt;mlp&lt;/b&gt;" in text for text in html)
    row = reports.evaluations[0].findings.set_index("finding").loc["Lung nodule"]
    assert f"{row['auroc']:.3f}".lstrip("0") in html[3]
    assert "evaluated" in html[3] and "24 volumes" in html[3]  # the disclosures stand above every table of test metrics
    assert repr(reports.evaluations[0]).startswith("Run <b>mlp</b> on test")


def test_figures_are_those_of_the_pages_with_their_notes(reports: Reports) -> None:
    evaluation, comparison = reports.evaluations[0], ct.compare(reports.runs)
    dots = next(trace for trace in evaluation.figure("auroc").data if trace.name == "AUROC")
    known = evaluation.findings.set_index("finding")["auroc"]
    assert dict(zip(dots.y, dots.x)) == pytest.approx(known.to_dict())
    (forest,) = comparison.figure("auroc").data
    rows = comparison.differences
    assert list(forest.x) == pytest.approx(rows.loc[rows["metric"] == "auroc", "delta"].tolist())
    figures = [evaluation.curves(), evaluation.curves("roc", ["Emphysema"]), comparison.figure(), evaluation.figure()]
    for figure in figures:
        assert re.search(r"evaluated \d+ times?", figure.layout.title.text.replace("<br>", " "))
    others = [reports.data.figure(), reports.runs[0].figure(), reports.alignment.figure()]
    assert all(figure.data and figure.layout.title.text for figure in [*others, reports.alignment.similarity_figure()])
    for wrong in (
        lambda: evaluation.figure("aurco"),
        lambda: evaluation.curves("rco"),
        lambda: comparison.figure("f2"),
    ):
        with pytest.raises(ct.CtbenchError, match="Unknown"):
            wrong()


def test_without_plotly_tables_work_and_figures_say_what_to_install(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("ctbench_core.figures")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(ctbench_core, "figures", raising=False)
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    assert len(reports.evaluations[0].findings) == 3
    with pytest.raises(ct.CtbenchError, match="Figures need Plotly, which is not installed"):
        reports.evaluations[0].figure()
