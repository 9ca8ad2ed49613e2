"""The older system's tables, from a study and from its own run folders, equal plain pandas and SciPy."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ctbench_core.inference import MACRO, recipe_difference
from ctbench_core.legacy import scaling_figure, summarise
from ctbench_core.runs import Ledger, open_run
from ctbench_core.studies import Study, StudyPaths, load_recipes, read_plan, read_results, run_study

Cli = Callable[..., Any]
METRICS = ("test_primary_auprc", "test_primary_auroc", "test_primary_f1_macro")


@pytest.fixture(scope="module")
def study(tiny_data: Path, labels: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run two label sources x two budgets x two folds x two seeds; one source has every fifth label flipped."""
    folder = tmp_path_factory.mktemp("phase3")
    shutil.copytree(tiny_data / "manifests", folder / "manual")
    shutil.copytree(tiny_data / "manifests", folder / "gpt")
    for path in (folder / "gpt").glob("*.csv"):
        frame = pd.read_csv(path)
        flipped = np.random.default_rng(3).random((len(frame), len(labels))) < 0.2
        frame[labels] = np.where(flipped, 1 - frame[labels], frame[labels])
        frame.to_csv(path, index=False)
    base = {
        "paths.data_root": str(tiny_data / "features"),
        "paths.outputs_root": str(folder / "outputs"),
        "training.max_epochs": 3,
        "training.learning_rate": 3e-2,
        "training.monitor": "loss",  # a few patients may show one class only
        "model.params.hidden_dims": [8],
    }
    sources = {name: str(folder / name) for name in ("manual", "gpt")}
    grid = {"source": sources, "budget": [12, 20], "seed": [1, 2]}
    return Path(run_study(Study("phase 3", base, grid, folds=2), with_intervals=False)["study_dir"])


@pytest.fixture
def tables(study: Path, cli: Cli) -> dict[str, pd.DataFrame]:
    """Return the tables that `aggregate` and `contrast` wrote for the study."""
    ended = cli("aggregate", str(study), "output_prefix=both")
    assert ended.code == 0, ended.err
    files = ended.json["files"]
    assert "plotly" in Path(files.pop("scaling")).read_text(encoding="utf-8")
    ended = cli("contrast", str(study), "first=manual", "second=gpt")
    assert ended.code == 0, ended.err
    return {name: pd.read_csv(path) for name, path in (files | ended.json["files"]).items()}


def test_one_row_a_run_with_the_older_columns_and_the_stored_metrics(
    study: Path, tables: dict[str, pd.DataFrame]
) -> None:
    table = tables["per_run"]
    assert list(table.columns[:14]) == [
        *(
            "source",
            "run_dir",
            "checkpoint_path",
            "train_manifest",
            "val_manifest",
            "budget_n",
            "split_seed",
            "cv_fold",
        ),
        *("utils_seed", "learning_rate", "weight_decay", "dropout", "hidden_dims", "batch_size"),
    ]
    assert len(table) == 16
    assert sorted(set(table["source"])) == ["gpt", "manual"]
    assert sorted(set(table["budget_n"])) == [12, 20]
    for row in table.to_dict("records"):
        run = open_run(row["run_dir"])
        (name,) = run.evaluations()
        metrics = pd.read_json(run.paths.evaluation(name).metrics, typ="series")
        assert row["test_primary_auprc"] == pytest.approx(metrics["auprc"], abs=1e-12)
        assert row[f"test_{name}.csv_f1_macro"] == pytest.approx(metrics["f1_macro"], abs=1e-12)
        best = run.best()["val_metrics"]["auprc"]
        assert row["best_val_auprc"] == pytest.approx(np.nan if best is None else best, abs=1e-12, nan_ok=True)


def test_by_budget_is_mean_deviation_and_count(tables: dict[str, pd.DataFrame]) -> None:
    for row in tables["by_budget"].to_dict("records"):
        runs = tables["per_run"].query("source == @row['source'] and budget_n == @row['budget_n']")
        assert row["test_primary_auroc_count"] == len(runs) == 4
        assert row["test_primary_auroc_mean"] == pytest.approx(runs["test_primary_auroc"].mean(), abs=1e-12)
        assert row["test_primary_auroc_std"] == pytest.approx(runs["test_primary_auroc"].std(ddof=1), abs=1e-12)


def test_the_scaling_plot_holds_the_means_and_deviations_by_budget(tables: dict[str, pd.DataFrame]) -> None:
    figure = scaling_figure(tables["by_budget"])
    assert figure is not None
    assert len(figure.data) == 2 * 3  # two sources, three metrics
    for trace in figure.data:
        rows = tables["by_budget"].query("source == @trace.name")
        column = "test_primary_auprc" if trace.xaxis == "x" else None
        assert list(trace.x) == list(rows["budget_n"]) == [12, 20]
        if column:
            np.testing.assert_allclose(trace.y, rows[f"{column}_mean"])
            np.testing.assert_allclose(trace.error_y.array, rows[f"{column}_std"])
    assert scaling_figure(tables["by_budget"].assign(budget_n=np.nan)) is None


def test_the_summary_of_a_kfold_is_over_folds_with_seeds_averaged(tables: dict[str, pd.DataFrame]) -> None:
    keys = ["budget_n", "cv_fold", "utils_seed"]
    runs = tables["per_run"].set_index(keys).sort_index()
    first, second = (runs[runs["source"] == name] for name in ("manual", "gpt"))
    summary = tables["summary"]
    assert len(summary) == 6
    for row in summary.to_dict("records"):
        a, b = (side.loc[row["budget_n"]][row["metric"]].to_numpy() for side in (first, second))
        d = a - b
        assert row["n_pairs"] == 4
        assert row["delta_mean"] == pytest.approx(d.mean(), abs=1e-12)
        assert row["delta_std"] == pytest.approx(d.std(ddof=1), abs=1e-12)
        assert row["effect_size"] == pytest.approx(d.mean() / d.std(ddof=1), abs=1e-9)
        assert row["t_p_value"] == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=1e-9)
        assert row["interval"] == "folds, this way of training"
        folds = d.reshape(2, 2).mean(axis=1)
        error = np.sqrt((1 / 2 + 1) * folds.var(ddof=1))
        assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(d.mean()) / error, 1), abs=1e-9)
        half = stats.t.ppf(0.975, 1) * error
        assert [row["delta_ci_lo"], row["delta_ci_hi"]] == pytest.approx([d.mean() - half, d.mean() + half])
    np.testing.assert_allclose(summary["p_value_adj"], stats.false_discovery_control(summary["p_value"]), atol=1e-12)


@pytest.mark.parametrize(("folds", "share"), [(None, 0.0), (5, 1 / 4)])
def test_a_table_alone_is_tested_over_seeds_or_over_folds(folds: int | None, share: float) -> None:
    draw = np.random.default_rng(0)
    d = draw.normal(0.3, 1, 25)
    pairs = pd.DataFrame({"budget_n": 50, "x_a": d, "x_b": 0.0, "delta_x": d, "utils_seed": np.arange(25) // 5})
    pairs["cv_fold"] = np.arange(25) % 5 if folds else None
    (row,) = summarise(pairs, ("a", "b"), ["x"]).to_dict("records")
    values = d.reshape(5, 5).mean(axis=0) if folds else d
    error = np.sqrt((1 / len(values) + share) * values.var(ddof=1))
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(d.mean()) / error, len(values) - 1))
    assert row["interval"] == ("folds (no scores)" if folds else "seeds (no scores)")
    if not folds:
        assert row["p_value"] == pytest.approx(stats.ttest_1samp(d, 0).pvalue)


def test_two_pairs_have_no_interval_and_say_so() -> None:
    pairs = pd.DataFrame({"budget_n": 50, "x_a": [0.3, 0.4], "x_b": 0.1, "delta_x": [0.2, 0.3]})
    (row,) = summarise(pairs, ("a", "b"), ["x"]).to_dict("records")
    assert row["reason"] == "2 seeds: an interval needs 3"
    assert np.isnan([row["p_value"], row["delta_ci_lo"], row["p_value_adj"]]).all()
    assert not row["delta_ci_excludes_zero"]


def test_sources_of_a_fixed_test_are_compared_as_recipes(
    tiny_data: Path, labels: list[str], tmp_path: Path, cli: Cli
) -> None:
    """The interval of the macro mean is that of `recipe_difference` on the stored scores."""
    shutil.copytree(tiny_data / "manifests", tmp_path / "gpt")
    frame = pd.read_csv(tmp_path / "gpt" / "train.csv")
    frame[labels] = frame[labels].to_numpy()[::-1]
    frame.to_csv(tmp_path / "gpt" / "train.csv", index=False)
    base = {
        "paths.data_root": str(tiny_data / "features"),
        "paths.outputs_root": str(tmp_path / "outputs"),
        "data.test_manifests": [str(tiny_data / "manifests" / "train.csv")],
        "training.max_epochs": 2,
        "model.params.hidden_dims": [],
    }
    sources = {name.name: str(name) for name in (tiny_data / "manifests", tmp_path / "gpt")}
    folder = run_study(Study("fixed", base, {"source": sources, "budget": [24], "seed": [1, 2, 3]}))["study_dir"]
    ended = cli("contrast", folder, "first=manifests", "second=gpt")
    assert ended.code == 0, ended.err
    summary = pd.read_csv(ended.json["files"]["summary"]).set_index("metric")
    paths = StudyPaths(Path(folder))
    one, other = load_recipes(paths, read_plan(paths), read_results(paths, read_plan(paths))).values()
    data = (one.targets, one.scores, other.scores, (one.seeds, other.seeds), one.patients, one.findings)
    expected = recipe_difference(*data, overlap=24 / 44)
    for metric, difference in expected.items():
        row, place = summary.loc[f"test_primary_{metric}"], difference.at(MACRO)
        assert row["p_value"] == pytest.approx(difference.p[place])
        assert [row["delta_ci_lo"], row["delta_ci_hi"]] == pytest.approx(list(difference.bounds[place]))
        assert row["delta_mean"] == pytest.approx(difference.delta[place])
        assert row["interval"] == "seeds and patients, this way of training, for these training patients"


def test_every_finding_is_paired_within_fold_and_seed(tables: dict[str, pd.DataFrame], labels: list[str]) -> None:
    pairs, summary = tables["per_class_paired"], tables["per_class_summary"]
    assert len(pairs) == 8 * len(labels)
    np.testing.assert_allclose(pairs["delta_f1"], pairs["manual_f1"] - pairs["gpt_f1"], atol=1e-12)
    for row in summary.to_dict("records"):
        group = pairs.query("budget_n == @row['budget_n'] and class_name == @row['class_name']")
        assert row["delta_recall_count"] == group["delta_recall"].notna().sum()
        assert row["delta_f1_mean"] == pytest.approx(group["delta_f1"].mean(), abs=1e-12)


def test_two_tables_of_the_older_system_are_compared_as_they_are(tables: dict[str, pd.DataFrame], cli: Cli) -> None:
    for name in ("manual", "gpt"):
        runs = tables["per_run"].query("source == @name").assign(run_dir="gone")
        runs.to_csv(f"{name}_kfold_per_run.csv", index=False)
    ended = cli("contrast", "first=manual_kfold_per_run.csv", "second=gpt_kfold_per_run.csv", "budgets=[20]")
    assert ended.code == 0, ended.err
    assert sorted(ended.json["files"]) == ["paired", "summary"]
    rows = tables["summary"].query("budget_n == 20")
    contrast = pd.read_csv(ended.json["files"]["summary"])
    np.testing.assert_allclose(contrast["p_value"], rows["p_value"], atol=1e-12)
    assert ended.json["family"] == 3


@pytest.fixture
def per_run(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a per-run table of the older system: seeds 1 to 4, with a budget or a blank one."""

    def write(source: str, budget: int | None, seeds: tuple[int, ...] = (1, 2, 3, 4)) -> str:
        draw = np.random.default_rng(len(source))
        frame = pd.DataFrame({"source": source, "run_dir": "gone", "cv_fold": None, "utils_seed": seeds})
        frame["budget_n"] = budget
        for metric in METRICS:
            frame[metric] = draw.random(len(seeds))
        frame.to_csv(tmp_path / f"{source}.csv", index=False)
        return str(tmp_path / f"{source}.csv")

    return write


@pytest.mark.parametrize("wrong", ["-inf", "-1", "1.5"])
def test_a_metric_that_is_no_number_from_0_to_1_is_an_error_with_its_line(
    per_run: Callable[..., str], cli: Cli, wrong: str
) -> None:
    first, second = per_run("first", 5), per_run("second", 5)
    frame = pd.read_csv(second, dtype=str)
    frame.loc[1, METRICS[0]] = wrong
    frame.to_csv(second, index=False)
    ended = cli("contrast", f"first={first}", f"second={second}")
    assert ended.code == 2
    assert f"column '{METRICS[0]}' has '{wrong}' on line 3 (1 row); expected a number from 0 to 1" in ended.err


def test_tables_with_a_blank_budget_pair_by_seed_alone(per_run: Callable[..., str], cli: Cli) -> None:
    old, new = per_run("old", None), per_run("new", 800, (1, 2, 3, 4, 5))
    for keys in ("[utils_seed]", "utils_seed"):
        ended = cli("contrast", f"first={old}", f"second={new}", f"pair_keys={keys}")
        assert ended.code == 0, ended.err
    sides = [pd.read_csv(path).set_index("utils_seed") for path in (old, new)]
    summary = pd.read_csv(ended.json["files"]["summary"])
    assert len(summary) == 3 and summary["budget_n"].isna().all() and (summary["n_pairs"] == 4).all()
    for row in summary.to_dict("records"):
        deltas = (sides[0][row["metric"]] - sides[1][row["metric"]]).dropna()
        assert row["delta_mean"] == pytest.approx(deltas.mean(), abs=1e-12)
    assert ended.json["warnings"] == [
        "1 run of new without a partner left out.",
        "4 pairs differ in budget_n: blank (old) and 800 (new).",
    ]


@pytest.mark.parametrize("keys", [[], ["pair_keys=[budget_n,utils_seed]"]])
def test_a_blank_budget_that_pairs_with_nothing_is_named(
    per_run: Callable[..., str], cli: Cli, keys: list[str]
) -> None:
    ended = cli("contrast", f"first={per_run('old', None)}", f"second={per_run('new', 800)}", *keys)
    assert ended.code == 2
    assert "budget_n is blank and 800" in ended.json["error"]
    assert "utils_seed is 1, 2, 3, 4 and 1, 2, 3, 4" in ended.json["error"]
    assert "pair_keys=[" in ended.json["error"]


def test_blank_budgets_on_both_sides_pair(per_run: Callable[..., str], cli: Cli) -> None:
    ended = cli("contrast", f"first={per_run('old', None)}", f"second={per_run('new', None)}")
    assert ended.code == 0, ended.err
    assert (ended.json["pairs"], ended.json["warnings"]) == (4, [])


def test_findings_pair_by_seed_alone(study: Path, cli: Cli, labels: list[str]) -> None:
    """Runs that exist are paired finding by finding too, also where the budget is no key."""
    ended = cli("aggregate", str(study), "output_prefix=keys")
    runs = pd.read_csv(ended.json["files"]["per_run"])
    runs = runs[(runs["cv_fold"] == runs["cv_fold"].min()) & (runs["budget_n"] == 20)]
    for name in ("manual", "gpt"):
        runs[runs["source"] == name].assign(budget_n=20 if name == "manual" else None).to_csv(
            f"{name}.csv", index=False
        )
    ended = cli("contrast", "first=manual.csv", "second=gpt.csv", "pair_keys=[cv_fold,utils_seed]")
    assert ended.code == 0, ended.err
    assert len(pd.read_csv(ended.json["files"]["per_class_paired"])) == 2 * len(labels)
    assert pd.read_csv(ended.json["files"]["per_class_summary"])["budget_n"].isna().all()


def test_old_folders_are_evaluated_on_other_manifests_and_aggregated_by_budget(
    make_old_run: Callable[..., Path], cli: Cli, tmp_path: Path
) -> None:
    manifests = tmp_path / "project" / "data" / "manifests"
    for budget in (20, 40):
        for seed in (1, 2):
            name = f"train_n{budget}_s{seed}.csv"
            rows = (manifests / "train.csv").read_text().splitlines()
            (manifests / name).write_text("\n".join(rows[: budget + 1]) + "\n")
            make_old_run(f"gpt_budget/train_n{budget}_s{seed}", seed=seed, train=name, epochs=2)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(manifests / "test.csv", other / "test_manual_all.csv")
    ended = cli(
        "aggregate",
        str(tmp_path / "project" / "outputs" / "gpt_budget"),
        "data.test_manifests=[test_manual_all.csv]",
        f"paths.manifest_dir={other}",
        f"paths.outputs_root={tmp_path / 'store'}",
    )
    assert ended.code == 0, ended.err
    table = pd.read_csv(ended.json["files"]["per_run"])
    assert Path(ended.json["files"]["per_run"]).name == "gpt_budget_per_run.csv"
    assert set(table["source"]) == {"gpt"}
    assert sorted(zip(table["budget_n"], table["split_seed"])) == [(20, 1), (20, 2), (40, 1), (40, 2)]
    assert (table["test_manual_all.csv_auprc"] == table["test_primary_auprc"]).all()
    by_budget = pd.read_csv(ended.json["files"]["by_budget"])
    assert {"test_manual_all.csv_auprc_mean", "test_manual_all.csv_auprc_std"} <= set(by_budget)
    assert len(Ledger(tmp_path / "store").openings()) == 4
    again = cli("aggregate", str(tmp_path / "store"), "data.test_manifests=[test_manual_all.csv]")
    assert again.code == 0, again.err
    assert len(Ledger(tmp_path / "store").openings()) == 4  # stored results are not computed again


def test_unknown_or_equal_sources_are_named(study: Path, cli: Cli) -> None:
    ended = cli("contrast", str(study), "first=manual", "second=human")
    assert ended.code == 2
    assert "It has: gpt, manual" in ended.json["error"]
    ended = cli("contrast", f"first={study}", f"second={study}", "first_name=a", "second_name=a")
    assert ended.code == 2
    assert "first_name=" in ended.json["error"]


def test_budget_manifests_are_nested_indexed_and_train(
    cli: Cli, overrides: list[str], tmp_path: Path, data: Path
) -> None:
    path_overrides = [override for override in overrides if override.startswith("paths.")]
    out = tmp_path / "splits"
    ended = cli("budgets", *path_overrides, "budgets=[8,16,all]", "seeds=[1,2]", f"output_dir={out}")
    assert ended.code == 0, ended.err
    index = pd.read_csv(out / "manifest_index.csv")
    assert list(index["budget"]) == [8, 16, 44] * 2
    drawn = {}
    for row in index.to_dict("records"):
        train, val = (pd.read_csv(out / row[f"{side}_manifest"]) for side in ("train", "val"))
        assert (len(train), len(val)) == (row["train_rows"], row["val_rows"])
        drawn[row["budget"], row["seed"]] = set(train["volumename"])
    assert drawn[8, 1] < drawn[16, 1] < drawn[44, 1]
    selections = pd.read_csv(out / "selection_index.csv")
    assert set(selections.columns) == {"budget", "seed", "selection_value", "split"}
    one = [override for override in overrides if not override.startswith("paths.manifest_dir")]
    names = [
        f"paths.manifest_dir={out}",
        "data.train_manifest=train_n16_s1.csv",
        "data.val_manifest=train_n16_s1_val.csv",
    ]
    assert cli("train", *one, *names).code == 0
    # Another label source takes the same volumes from the exported selection.
    again = cli(
        "budgets",
        *path_overrides,
        "budgets=[16]",
        "seeds=[2]",
        f"data.selection={out / 'selection_index.csv'}",
        f"output_dir={tmp_path / 'other'}",
    )
    assert again.code == 0, again.err
    assert set(pd.read_csv(tmp_path / "other" / "train_n16_s2.csv")["volumename"]) == drawn[16, 2]


def test_kfold_budget_manifests_hold_each_fold_out(cli: Cli, overrides: list[str], tmp_path: Path) -> None:
    path_overrides = [override for override in overrides if override.startswith("paths.")]
    out = tmp_path / "folds"
    ended = cli(
        "budgets",
        *path_overrides,
        "budgets=[8,1000]",
        "seeds=[52]",
        "data.kfold.folds=3",
        "prefix=manual_kfold",
        f"output_dir={out}",
    )
    assert ended.code == 0, ended.err
    index = pd.read_csv(out / "manifest_index.csv")
    assert list(index["fold"]) == [1, 1, 2, 2, 3, 3]
    assert index["train_manifest"][0] == "manual_kfold_f1_n8_s52.csv"
    assert any("Budget 1000: only" in text for text in ended.json["warnings"])
    tests = [set(pd.read_csv(out / f"manual_kfold_f{fold}_test.csv")["volumename"]) for fold in (1, 2, 3)]
    assert sum(map(len, tests)) == len(set().union(*tests)) == 88
    for row in index.to_dict("records"):
        with (out / row["train_manifest"]).open(newline="") as file:
            patients = {line["volumename"].rsplit("_", 2)[0] for line in csv.DictReader(file)}
        assert not patients & {name.rsplit("_", 2)[0] for name in tests[row["fold"] - 1]}
