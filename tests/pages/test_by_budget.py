"""Runs by label budget on the Runs page: the tables of `aggregate` and `contrast`, as a person comes to them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.formatting import format_interval, format_mean_sd
from ctbench_core.legacy import by_budget_table, contrast_tables, import_runs, per_run_table
from ctbench_core.runs import Ledger, RunStore, open_run, read_metrics

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]
PAIRS = ["budget_n", "utils_seed"]


@pytest.fixture
def sweep(make_old_run: Callable[..., Path], store: Path, tmp_path: Path, labels: list[str]) -> Path:
    """Bring in a sweep of the older system: two sources x two budgets x two seeds; return its manifests' folder."""
    manifests = tmp_path / "project" / "data" / "manifests"
    for budget in (40, 60):
        rows = pd.read_csv(manifests / "train.csv").head(budget)
        for source in ("manual", "gpt"):
            folder = manifests / source
            folder.mkdir(exist_ok=True)
            flipped = np.random.default_rng(budget).random((budget, len(labels))) < (0.3 if source == "gpt" else 0)
            marked = rows.assign(**{label: rows[label] ^ flipped[:, c].astype(int) for c, label in enumerate(labels)})
            for seed in (1, 2):
                marked.to_csv(folder / f"train_n{budget}_s{seed}.csv", index=False)
                name = f"{source}_budget/train_n{budget}_s{seed}"
                places = {"train": f"{source}/train_n{budget}_s{seed}.csv", "epochs": 2}
                make_old_run(name, seed=seed, **places)
    import_runs(tmp_path / "project" / "outputs", store)
    return manifests


@pytest.fixture
def by_budget(open_page: Open) -> Callable[..., AppTest]:
    """Return a function that opens the view, on one of its tabs."""

    def open_(tab: str = "Budgets", fields: dict[str, object] | None = None) -> AppTest:
        return open_page("runs", {"runs.view": "By budget", "by-budget-tabs": tab, **(fields or {})})

    return open_


def evaluate(app: AppTest) -> AppTest:
    app.button(key="by-budget-evaluate").click().run()
    assert not app.exception and not app.error
    return app


def test_runs_are_evaluated_on_other_manifests_and_put_together_by_budget(
    sweep: Path, store: Path, by_budget: Callable[..., AppTest], said: Said, tmp_path: Path
) -> None:
    app = by_budget()
    assert not app.exception
    assert "No test results yet" in said(app)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(sweep / "test.csv", other / "test_manual_all.csv")
    app.text_input(key="by-budget.folder").set_value(str(other)).run()
    app.multiselect(key="by-budget.tests").set_value(["test_manual_all.csv"]).run()
    evaluate(app)
    assert "8 runs evaluated" in said(app)
    assert len(Ledger(store).openings()) == 8
    table = per_run_table(RunStore(store).runs())
    expected = by_budget_table(table)
    shown = app.dataframe[0].value
    assert list(zip(shown["source"], shown["budget_n"])) == list(zip(expected["source"], expected["budget_n"]))
    auprc = zip(expected["test_primary_auprc_mean"], expected["test_primary_auprc_std"])
    assert list(shown["Test AUPRC"]) == [format_mean_sd(mean, sd) for mean, sd in auprc]
    assert set(shown["runs"]) == {2}
    again = evaluate(by_budget(fields={"by-budget.folder": str(other), "by-budget.tests": ["test_manual_all.csv"]}))
    assert not again.exception
    assert len(Ledger(store).openings()) == 8  # stored results are not evaluated again


def test_a_single_source_is_no_column(sweep: Path, store: Path, by_budget: Callable[..., AppTest]) -> None:
    for run in RunStore(store).runs():
        if "gpt" in run.config.data.train_manifest:
            shutil.rmtree(run.paths.root)
    shown = evaluate(by_budget()).dataframe[0].value
    assert "source" not in shown and "budget_n" in shown


def test_the_curve_shows_both_sources(sweep: Path, by_budget: Callable[..., AppTest]) -> None:
    evaluate(by_budget())
    app = by_budget("Curve")
    assert not app.exception
    (chart,) = app.get("plotly_chart")
    assert '"name":"gpt"' in chart.proto.spec and '"name":"manual"' in chart.proto.spec


def test_two_sources_are_compared_as_contrast_does_down_to_the_findings(
    sweep: Path, store: Path, by_budget: Callable[..., AppTest], labels: list[str], tmp_path: Path, said: Said
) -> None:
    evaluate(by_budget())
    app = by_budget("Two sources")
    assert not app.exception
    assert [app.selectbox(key=f"two-sources.{side}").value for side in ("first", "second")] == ["manual", "gpt"]
    app.multiselect(key="two-sources.keys").set_value(PAIRS).run()
    assert not app.exception and not app.error
    table = per_run_table(RunStore(store).runs())
    sides = [table[table["source"] == name] for name in ("manual", "gpt")]
    expected = contrast_tables(sides[0], sides[1], ("manual", "gpt"), keys=PAIRS)
    summary, findings = (frame.value for frame in app.dataframe[:2])
    rows = expected["summary"]
    bounds = rows[["delta_ci_lo", "delta_ci_hi"]].to_numpy().tolist()
    assert list(summary["Difference [95 % CI]"]) == [format_interval(d, b) for d, b in zip(rows["delta_mean"], bounds)]
    np.testing.assert_allclose(summary["Effect size"], rows["effect_size"])
    assert sorted(findings["Finding"]) == sorted(labels)
    assert "4 pairs" in said(app)
    assert not app.warning
    # A table of the older system replaces one source.
    sides[1].assign(run_dir="gone").to_csv(tmp_path / "gpt_per_run.csv", index=False)
    app.selectbox(key="two-sources.second").set_value("From a file").run()
    app.text_input(key="two-sources.second.file").set_value(str(tmp_path / "gpt_per_run.csv")).run()
    assert not app.exception and not app.error
    pd.testing.assert_frame_equal(app.dataframe[0].value, summary)
    assert len(app.dataframe) == 1  # the runs themselves are gone: nothing by finding
    unknown = sides[1].assign(run_dir="gone").iloc[1:]
    unknown["test_primary_auprc"] = [None, *unknown["test_primary_auprc"][1:]]
    unknown.to_csv(tmp_path / "gpt_per_run.csv", index=False)
    app.run()
    assert [item.value.replace("\\", "") for item in app.warning] == [
        "1 run of manual without a partner left out.",
        "1 pair without test_primary_auprc on both sides left out of its rows.",
    ]
    app.text_input(key="two-sources.second.file").set_value(str(sweep / "test.csv")).run()
    assert "is not a per-run table" in said(app)


def test_one_source_is_not_compared(
    make_old_run: Callable[..., Path], store: Path, by_budget: Callable[..., AppTest], said: Said
) -> None:
    import_runs(make_old_run(epochs=1), store)
    evaluate(by_budget())
    app = by_budget("Two sources")
    assert not app.exception and not app.error
    assert "Choose two sources" in said(app)


def test_recipes_of_one_budget_are_never_averaged_together(
    evaluated_run: Callable[..., Path], store: Path, by_budget: Callable[..., AppTest]
) -> None:
    values: dict[str, list[float]] = {}
    for rate in (1e-2, 1e-3):
        for seed in (1, 2):
            draw = {"data.budget": 20, "data.budget_seed": seed, "utils.seed": seed}
            folder = evaluated_run({**draw, "training.learning_rate": rate})
            value = read_metrics(open_run(folder).paths.evaluation("test").metrics).macro_values["auprc"]
            values.setdefault(f"lr {rate:g}", []).append(value)
    app = by_budget()
    assert not app.exception
    shown = app.dataframe[0].value.set_index("settings")
    assert set(shown.index) == set(values)
    assert set(shown["runs"]) == {2}
    for settings, pair in values.items():
        assert shown.loc[settings, "Test AUPRC"] == format_mean_sd(np.mean(pair), np.std(pair, ddof=1))
    (chart,) = by_budget("Curve").get("plotly_chart")
    assert all(f"lr {rate}" in chart.proto.spec for rate in ("0.01", "0.001"))
    one = per_run_table([run for run in RunStore(store).runs() if run.config.training.learning_rate == 1e-2])
    assert set(one["settings"]) == {""}  # seeds and draws repeat a recipe


def test_a_head_is_not_named_by_parameters_that_it_has_not(
    evaluated_run: Callable[..., Path], store: Path, by_budget: Callable[..., AppTest]
) -> None:
    linear = {"model._target_": "linear", "model.model_name": "linear"}
    for changes in ({"model.params.hidden_dims": [4]}, {"model.params.hidden_dims": [8]}, linear):
        evaluated_run({"data.budget": 20, "data.budget_seed": 1, **changes})
    shown = by_budget().dataframe[0].value.set_index("model")
    assert sorted(shown.loc["mlp", "settings"]) == ["widths 4", "widths 8"]
    assert shown.loc["linear", "settings"] == ""
