"""Every number of a comparison equals an independent computation, in its frames, JSON, printed table and paper."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ctbench_core.atomic import dump_json
from ctbench_core.cli.summaries import comparison_table
from ctbench_core.compare import Comparison, ModelScores, compare_label_sets, compare_models
from ctbench_core.compare.recipes import compare_scored_recipes
from ctbench_core.declared import compared_metrics, metric_title
from ctbench_core.formatting import format_interval, format_metric, format_p
from ctbench_core.report import paper_files

FINDINGS = ("NA", "01", "1", "a,b")
MODELS = {"base & co": 0.4, "None": 1.2, "third": 2.0}
_OF: dict[str, Callable[..., float]] = {"auprc": average_precision_score, "auroc": roc_auc_score}


def _model(name: str, strength: float, seed: int = 0) -> ModelScores:
    """Draw scores of 150 patients with two volumes each; targets are the same for all."""
    truth, noise = np.random.default_rng(3), np.random.default_rng([len(name), seed])
    patients = np.repeat(np.arange(150), 2)
    frame = pd.DataFrame({"volumename": [f"v_{p}_a_{k % 2}" for k, p in enumerate(patients)]})
    frame["exam"] = frame["patient"] = [f"v_{p}" for p in patients]
    for place, label in enumerate(FINDINGS):
        y = (truth.random(150) < 0.2 + 0.1 * place)[patients].astype(int)
        frame[f"target_{label}"] = pd.array(y, dtype="Int8")
        score = strength * (1 + place / 4) * y + noise.normal(size=300)
        frame[f"prob_{label}"] = 1 / (1 + np.exp(-score))
    return ModelScores(name, frame)


@pytest.fixture(scope="module")
def models() -> dict[str, ModelScores]:
    return {name: _model(name, strength) for name, strength in MODELS.items()}


@pytest.fixture(scope="module")
def comparison(models: dict[str, ModelScores]) -> Comparison:
    return compare_models(list(models.values()), "test")


def _value(model: ModelScores, metric: str, label: str) -> float:
    labels = FINDINGS if label == "macro" else [label]
    frame = model.frame
    return float(np.mean([_OF[metric](frame[f"target_{x}"].astype(int), frame[f"prob_{x}"]) for x in labels]))


def test_the_independent_computations_cover_every_compared_metric() -> None:
    assert set(compared_metrics()) == set(_OF)


def test_every_value_and_difference_is_scikit_learns(comparison: Comparison, models: dict[str, ModelScores]) -> None:
    assert comparison.common.labels == list(FINDINGS)
    figures = comparison.metrics
    assert len(figures) == len(MODELS) * len(_OF) * (len(FINDINGS) + 1)
    for row in figures.itertuples():
        assert row.value == pytest.approx(_value(models[row.model], row.metric, row.finding), abs=1e-12)
        assert row.lo < row.value < row.hi
    assert len(comparison.differences) == (len(MODELS) - 1) * len(_OF) * (len(FINDINGS) + 1)
    for row in comparison.differences.itertuples():
        first, second = (_value(models[name], row.metric, row.label) for name in (row.a, row.b))
        assert row.b == "base & co"
        assert row.delta == pytest.approx(first - second, abs=1e-12)
        assert row.lo < row.delta < row.hi


def test_intervals_of_differences_resemble_a_paired_bootstrap(
    comparison: Comparison, models: dict[str, ModelScores]
) -> None:
    draw = np.random.default_rng(0)
    resamples = [np.repeat(2 * draw.integers(0, 150, 150), 2) + np.tile([0, 1], 150) for _ in range(120)]
    for row in comparison.differences[comparison.differences["label"] != "macro"].itertuples():
        y = models[row.a].frame[f"target_{row.label}"].to_numpy(int)
        scores = [models[name].frame[f"prob_{row.label}"].to_numpy() for name in (row.a, row.b)]
        function = _OF[row.metric]
        spread = np.std([function(y[at], scores[0][at]) - function(y[at], scores[1][at]) for at in resamples], ddof=1)
        assert (row.hi - row.lo) / (2 * 1.96 * spread) == pytest.approx(1, abs=0.3), (row.metric, row.label)


def test_the_json_holds_the_frames(comparison: Comparison) -> None:
    content = json.loads(dump_json(comparison.to_json(["a", "b", "c"])))
    assert content["names"] == list(MODELS)
    for key, frame in (("figures", comparison.metrics), ("differences", comparison.differences)):
        assert len(content[key]) == len(frame)
        for stored, row in zip(content[key], frame.to_dict("records")):
            plain = {name: None if isinstance(one, float) and np.isnan(one) else one for name, one in row.items()}
            assert stored == plain
    assert {row["label"] for row in content["differences"]} == {*FINDINGS, "macro"}


def test_the_printed_table_holds_the_differences_in_its_columns(comparison: Comparison) -> None:
    lines = [re.split(r"\s{2,}", line.strip()) for line in comparison_table(comparison).splitlines()]
    at = lines.index(["finding", "metric", "difference [95 % CI]", "p", "p (adjusted)", "detectable"])
    rows = comparison.differences.to_dict("records")
    for line, row in zip(lines[at + 1 :], rows):
        title = f"{row['a']} − {row['b']}" if row["label"] == "macro" else row["label"]
        assert line == [
            title,
            metric_title(row["metric"]),
            format_interval(row["delta"], (row["lo"], row["hi"])),
            format_p(row["p"]),
            format_p(row["p_adjusted"]),
            format_metric(row["detectable"]),
        ]


def test_the_paper_holds_the_same_numbers(comparison: Comparison) -> None:
    files = paper_files(comparison)
    text = dict.fromkeys(("finding", "metric", "a", "b"), str)
    read: dict[str, Any] = {"dtype": text, "keep_default_na": False, "na_values": {"nothing": [""]}}
    table = pd.read_csv(io.StringIO(files["table.csv"]), **read).set_index(["metric", "finding"])
    figures = comparison.metrics.set_index(["model", "metric", "finding"])
    assert set(table.index) == {(metric, label) for metric in _OF for label in (*FINDINGS, "macro")}
    p = comparison.differences.set_index(["a", "metric", "label"])["p_adjusted"]
    for (metric, label), row in table.iterrows():
        for name in MODELS:
            expected = figures.loc[(name, metric, label), ["value", "lo", "hi"]].astype(float).round(3).tolist()
            assert [float(row[f"{name} {part}"]) for part in ("value", "lo", "hi")] == pytest.approx(expected)
            if name != "base & co":
                assert float(row[f"{name} p_adjusted"]) == pytest.approx(p[(name, metric, label)], abs=5.1e-5)
    differences = pd.read_csv(io.StringIO(files["differences.csv"]), **read)
    assert differences["finding"].tolist() == comparison.differences["label"].tolist()
    assert differences["delta"].astype(float).tolist() == pytest.approx(comparison.differences["delta"].tolist())
    lines = [line.rstrip("\\ ").split(" & ") for line in files["table.tex"].splitlines() if " & " in line]
    assert lines[0] == [metric_title(comparison.metrics["metric"].iloc[0]), "base \\& co", "None", "third"]
    bodies = [line for line in lines if "[" in line[-1]]
    for line, ((metric, label), row) in zip(bodies, table.iterrows()):
        assert line[0] == ("Macro mean" if label == "macro" else label)
        for cell, name in zip(line[1:], MODELS):
            assert cell.startswith(format_metric(float(row[f"{name} value"]))), (metric, label, name)
            marked = name != "base & co" and float(row[f"{name} p_adjusted"]) < 0.05
            assert ("dagger" in cell) == marked


def test_a_recipe_s_value_is_the_mean_over_its_seeds() -> None:
    recipes = {
        "weak": {str(seed): _model("weak", 0.4, seed) for seed in range(3)},
        "strong": {str(seed): _model("strong", 1.5, seed) for seed in range(4)},
    }
    comparison = compare_scored_recipes(recipes, "test")
    for row in comparison.metrics.itertuples():
        values = [_value(model, row.metric, row.finding) for model in recipes[row.model].values()]
        assert row.value == pytest.approx(np.mean(values), abs=1e-12)
        assert row.sd == pytest.approx(np.std(values, ddof=1), abs=1e-12)
        assert row.seeds == len(values)
    for row in comparison.differences.itertuples():
        # Only seeds that both have are compared.
        means = [
            np.mean([_value(recipes[name][seed], row.metric, row.label) for seed in recipes["weak"]])
            for name in (row.a, row.b)
        ]
        assert row.delta == pytest.approx(means[0] - means[1], abs=1e-12)
        assert (row.a, row.b) == ("strong", "weak")


def test_label_sets_are_scored_each_by_its_own_labels(models: dict[str, ModelScores]) -> None:
    model = models["third"]
    labels = model.frame[["volumename"]].copy()
    for label in FINDINGS:
        labels[label] = model.frame[f"target_{label}"].astype(float)
    labels.loc[:40, "NA"] = 1 - labels.loc[:40, "NA"]
    table = compare_label_sets(model, labels)
    for row in table.itertuples():
        own = _value(model, row.metric, row.label)
        other = _OF[row.metric](labels[row.label].astype(int), model.frame[f"prob_{row.label}"])
        assert (row.own, row.other, row.delta) == pytest.approx((own, other, other - own), abs=1e-12)
    assert table.loc[table["label"] == "NA", "agreement"].iloc[0] == pytest.approx(1 - 41 / 300)


def test_paper_files_are_written_as_they_are(comparison: Comparison, tmp_path: Path) -> None:
    from ctbench_core.report import write_paper

    names = write_paper(tmp_path, comparison)
    for name, text in paper_files(comparison).items():
        assert name in names
        assert (tmp_path / name).read_text(encoding="utf-8") == text
