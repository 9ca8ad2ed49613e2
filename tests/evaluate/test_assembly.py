"""Every stored and printed number of an evaluation equals an independent computation from its scores.

The kernels have tests of their own; these find what lies between them: columns exchanged, labels in another order, a
threshold of another finding, a name that a reader changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit, logit
from sklearn import metrics as sk

from ctbench_core.atomic import dump_json
from ctbench_core.cli import summaries
from ctbench_core.declared import (
    averaged_metrics,
    brief_metrics,
    finding_metrics,
    macro_keys,
    metrics_of,
    tuned_metrics,
)
from ctbench_core.evaluate.bundle import write_bundle, write_scores
from ctbench_core.evaluate.tuning import fit_tuning
from ctbench_core.manifest import Manifest
from ctbench_core.report.evaluation import latex_table, paper_frame
from ctbench_core.runs import Disclosures, Metrics, RunPaths, read_metrics, read_result_csv
from tests.inference.cohorts import dof_of, effective, left_out

# Names that a lenient reader changes, prevalence of each, and how well it is predicted.
FINDINGS = {
    "1": (0.3, 1.5),
    "01": (0.5, 0.7),
    "NA": (0.4, 2.5),
    "None": (0.25, 1.0),
    "a,b": (0.6, 0.5),
    'with "quotes"': (0.35, 1.2),
    "Ödem – β": (0.45, 0.9),
    "rare": (0.012, 1.0),  # defined, but fewer than ten patients
    "absent": (0.0, 0.0),  # undefined
}
LABELS = list(FINDINGS)
UNKNOWN = "5 volumes have no known patient."
DEFINED = LABELS[:-1]
ELIGIBLE = LABELS[:-2]

Numbers = np.ndarray


def _ece(y: Numbers, p: Numbers, patients: Numbers) -> float:
    """Compute the calibration error over 15 bins of equal mass, bin by bin, less its bias by a folded normal."""
    ordered = np.sort(p)
    edges = sorted({ordered[int(np.ceil(k * len(p) / 15)) - 1] for k in range(1, 15)})
    bins = np.array([sum(edge < value for edge in edges) for value in p])
    plain = folded = 0.0
    for one in set(bins):
        own, names = y[bins == one], patients[bins == one]
        sums = [(own[names == name] - own.mean()).sum() for name in set(names)]
        error = np.sqrt(np.square(sums).sum() * len(sums) / max(len(sums) - 1, 1)) / len(own)
        gap = abs((p[bins == one] - own).mean())
        plain += gap * len(own) / len(p)
        folded += (stats.foldnorm(gap / error, scale=error).mean() if error else gap) * len(own) / len(p)
    return max(2 * plain - folded, 0.0)


_AT: dict[str, Callable[[Numbers, Numbers], float]] = {
    "precision": lambda y, called: sk.precision_score(y, called, zero_division=np.nan),
    "recall": lambda y, called: sk.recall_score(y, called, zero_division=np.nan),
    "f1": lambda y, called: sk.f1_score(y, called, zero_division=np.nan),
    "specificity": lambda y, called: sk.recall_score(1 - y, 1 - called, zero_division=np.nan),
    "npv": lambda y, called: sk.precision_score(1 - y, 1 - called, zero_division=np.nan),
    "balanced_accuracy": sk.balanced_accuracy_score,
    "support": lambda y, called: float(y.sum()),
    "prevalence": lambda y, called: float(y.mean()),
}
# The rates by counts, a fiftieth of scikit-learn's time, for the thousands of cohorts without one patient.
_RATES: dict[str, Callable[[Numbers, Numbers], float]] = {
    "precision": lambda y, called: y[called].mean(),
    "recall": lambda y, called: called[y == 1].mean(),
    "f1": lambda y, called: 2 * y[called].sum() / (y.sum() + called.sum()),
    "specificity": lambda y, called: 1 - called[y == 0].mean(),
    "npv": lambda y, called: 1 - y[~called].mean(),
}
_OF: dict[str, Callable[[Numbers, Numbers], float]] = {
    "auprc": sk.average_precision_score,
    "auroc": sk.roc_auc_score,
    "brier": sk.brier_score_loss,
}


def _cohort(seed: int, patients: int) -> tuple[Manifest, Numbers]:
    draw = np.random.default_rng(seed)
    rows = np.repeat(np.arange(patients), draw.integers(1, 4, patients))
    volumes = np.array([f"valid_{patient}_a_{row}" for row, patient in enumerate(rows)], object)
    names = np.array([f"valid_{patient}" for patient in rows], object)
    targets = np.full((len(rows), len(LABELS)), np.nan, np.float32)
    logits = np.empty(targets.shape)
    for c, (prevalence, strength) in enumerate(FINDINGS.values()):
        targets[:, c] = (draw.random(patients) < prevalence)[rows]
        logits[:, c] = draw.normal(-0.4, 1, len(rows)) + strength * targets[:, c]
        targets[draw.random(len(rows)) < 0.05, c] = np.nan  # unknown
    targets[:3, LABELS.index("rare")] = 1
    manifest = Manifest(
        name="test.csv",
        path=Path("test.csv"),
        digest="",
        volumes=volumes,
        exams=volumes,
        patients=names,
        recons=np.ones(len(rows)),
        labels=LABELS,
        targets=targets,
        visual_paths=volumes,
        text_paths=None,
        frame=pd.DataFrame({"volumename": volumes, "Sex": np.where(rows % 2, "M", "F")}),
        lines=np.arange(len(rows)),
    )
    return manifest, logits


@pytest.fixture(scope="module")
def cohort() -> tuple[Manifest, Numbers]:
    return _cohort(1, 260)


@pytest.fixture(scope="module")
def tuning() -> dict[str, Any]:
    return json.loads(dump_json(fit_tuning(*_cohort(2, 200)) | {"best_epoch": 7}))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, cohort: tuple[Manifest, Numbers], tuning: dict[str, Any]) -> Any:
    paths = RunPaths(tmp_path_factory.mktemp("run")).evaluation("test")
    manifest, logits = cohort
    facts = {"test_set": "f00d", "openings": 3, "runs": 2, "unknown_patients": 5, "warnings": [UNKNOWN]}
    disclosures = Disclosures("test", manifest.counts(), **facts)
    write_bundle(paths, manifest, logits, ["valid_3"], tuning=tuning, disclosures=disclosures, epoch=7)
    return paths


@pytest.fixture(scope="module")
def stored(bundle: Any) -> dict[str, Any]:
    return json.loads(bundle.metrics.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def scores(bundle: Any) -> pd.DataFrame:
    return pd.read_parquet(bundle.scores)


def _column(scores: pd.DataFrame, label: str) -> tuple[Numbers, Numbers]:
    """Return the known targets of a finding, and their probabilities."""
    known = scores[f"target_{label}"].notna()
    return scores.loc[known, f"target_{label}"].to_numpy(int), scores.loc[known, f"prob_{label}"].to_numpy()


def _expected(scores: pd.DataFrame, label: str, threshold: float) -> dict[str, float]:
    y, p = _column(scores, label)
    patients = scores.loc[scores[f"target_{label}"].notna(), "patient"].to_numpy()
    at = {name: function(y, (p >= threshold).astype(int)) for name, function in _AT.items()}
    return {name: function(y, p) for name, function in _OF.items()} | at | {"ece": _ece(y, p, patients)}


def test_the_scores_are_the_cohort_s(scores: pd.DataFrame, cohort: tuple[Manifest, Numbers]) -> None:
    manifest, logits = cohort
    columns = [f"{part}_{label}" for part in ("target", "logit", "prob") for label in LABELS]
    assert list(scores) == ["volumename", "exam", "patient", *columns]
    assert scores["volumename"].tolist() == manifest.volumes.tolist()
    assert scores["patient"].tolist() == manifest.patients.tolist()
    for c, label in enumerate(LABELS):
        np.testing.assert_array_equal(scores[f"target_{label}"].astype(float), manifest.targets[:, c])
        np.testing.assert_array_equal(scores[f"logit_{label}"], logits[:, c])
        np.testing.assert_allclose(scores[f"prob_{label}"], 1 / (1 + np.exp(-logits[:, c])), rtol=1e-14)


def test_the_independent_computations_cover_every_declared_metric() -> None:
    declared = {metric.name for metric in (*finding_metrics(), *metrics_of("calibration"))}
    assert declared == {*_AT, *_OF, "ece"}


@pytest.mark.parametrize("label", DEFINED)
def test_every_metric_of_a_finding_is_scikit_learns(stored: dict[str, Any], scores: pd.DataFrame, label: str) -> None:
    values = stored["per_class"][label]
    for name, expected in _expected(scores, label, 0.5).items():
        assert values[name] == pytest.approx(expected, abs=1e-12), name


@pytest.mark.parametrize("label", DEFINED)
def test_every_tuned_metric_is_scikit_learns_at_the_threshold_of_validation(
    stored: dict[str, Any], scores: pd.DataFrame, tuning: dict[str, Any], label: str
) -> None:
    values, threshold = stored["per_class"][label], tuning["thresholds"]["f1"][label]
    assert values["threshold_tuned"] == threshold
    expected = _expected(scores, label, threshold)
    for metric in tuned_metrics():
        assert values[f"{metric.name}_tuned"] == pytest.approx(expected[metric.name], abs=1e-12), metric.name
    if label in ELIGIBLE:  # the case would notice two metrics exchanged
        rates = {round(values[f"{name}_tuned"], 6) for name in ("precision", "recall", "specificity", "f1")}
        assert len(rates) == 4


def test_the_tuned_thresholds_have_the_highest_f1_on_validation(tuning: dict[str, Any]) -> None:
    manifest, logits = _cohort(2, 200)
    for label in ELIGIBLE:
        c = LABELS.index(label)
        known = ~np.isnan(manifest.targets[:, c])
        y, p = manifest.targets[known, c], 1 / (1 + np.exp(-logits[known, c]))
        highest = max(_RATES["f1"](y, p >= one) for one in p)
        assert sk.f1_score(y, p >= tuning["thresholds"]["f1"][label]) == pytest.approx(highest, abs=1e-12)


def test_an_undefined_finding_is_null_with_its_reason(stored: dict[str, Any]) -> None:
    values = stored["per_class"]["absent"]
    assert values["auroc"] is None and values["auprc"] is None and values["recall"] is None
    assert stored["undefined"]["absent"] == "no positive rows"
    assert set(stored["undefined"]) == {"absent"}
    assert values["support"] == 0


def test_macro_means_average_the_defined_findings(stored: dict[str, Any]) -> None:
    for metric in averaged_metrics():
        values = [one[metric.name] for one in stored["per_class"].values() if one[metric.name] is not None]
        assert stored[metric.macro] == pytest.approx(np.mean(values), abs=1e-12)
        assert stored["macro"][metric.macro]["value"] == stored[metric.macro]
        assert stored["macro"][metric.macro]["findings"] == len(values)
    tuned = [one["f1_tuned"] for one in stored["per_class"].values() if one["f1_tuned"] is not None]
    assert stored["f1_tuned"] == pytest.approx(np.mean(tuned), abs=1e-12)


def test_a_macro_has_the_interval_of_its_own_findings_only(stored: dict[str, Any]) -> None:
    for metric in averaged_metrics():
        whole, eligible = stored["macro"][metric.macro], stored["macro"][f"{metric.macro}_eligible"]
        assert (whole["lo"], whole["hi"]) == (None, None)  # `rare` has no interval
        values = [stored["per_class"][label][metric.name] for label in ELIGIBLE]
        assert eligible["value"] == pytest.approx(np.mean(values), abs=1e-12)
        assert eligible["findings"] == len(ELIGIBLE)
        assert stored[f"{metric.macro}_ci"] == [None, None]
        assert (
            stored["macro_no_interval"][metric.macro]
            == f"{len(ELIGIBLE)} of {whole['findings']} findings have 10 patients of each class"
        )
        assert eligible["lo"] < eligible["value"] < eligible["hi"]
    assert stored["eligible"] == ELIGIBLE
    assert "an interval needs 10 of each" in stored["per_class"]["rare"]["no_interval"]


def test_where_every_finding_has_an_interval_so_has_the_macro(tmp_path: Path, cohort: tuple[Manifest, Numbers]) -> None:
    import dataclasses

    manifest, logits = cohort
    columns = [LABELS.index(label) for label in ELIGIBLE]
    one = dataclasses.replace(manifest, labels=ELIGIBLE, targets=manifest.targets[:, columns])
    metrics = write_bundle(RunPaths(tmp_path).evaluation("test"), one, logits[:, columns], [])
    for key, macro in metrics.macro.items():
        assert macro.eligible is None
        assert macro.interval.lo < macro.value < macro.interval.hi, key


@pytest.mark.parametrize("label", ELIGIBLE)
def test_intervals_are_those_of_leaving_out_each_patient(
    stored: dict[str, Any], scores: pd.DataFrame, label: str
) -> None:
    """On the rows of the others; AUROC's is Obuchowski's, and its own tests are elsewhere."""
    y, p = _column(scores, label)
    codes = np.unique(scores.loc[scores[f"target_{label}"].notna(), "patient"], return_inverse=True)[1]
    threshold = stored["per_class"][label]["threshold_tuned"]
    functions: dict[str, tuple[Callable[[Numbers], float], float | None]] = {
        "auprc": (lambda at: sk.average_precision_score(y[at], p[at]), None),
        **{name: (lambda at, f=f: f(y[at], p[at] >= 0.5), 0.5) for name, f in _RATES.items()},
        **{f"{name}_tuned": (lambda at, f=f: f(y[at], p[at] >= threshold), threshold) for name, f in _RATES.items()},
    }
    finding = stored["per_class"][label]
    assert {"auroc_ci", *(f"{name}_ci" for name in functions)} == {name for name in finding if name.endswith("_ci")}
    assert finding["auroc_ci"][0] < finding["auroc"] < finding["auroc_ci"][1]
    for name, (function, limit) in functions.items():
        if finding[f"{name}_ci"][0] is None:
            assert "an interval needs 10" in finding["no_interval_of"][name]
            continue
        value, deviations = function(np.arange(len(y))), left_out(function, codes)
        if limit is None:
            sides = [effective(codes, y == side) for side in (0, 1)]
            dof = dof_of(deviations, sides[int(len(np.unique(codes[y == 1])) < len(np.unique(codes[y == 0])))] - 1)
        else:
            called, rate = p >= limit, name.removesuffix("_tuned")
            assert value == pytest.approx(_AT[rate](y, called.astype(int)), abs=1e-12)
            rows = {
                "precision": called,
                "recall": y == 1,
                "f1": (y == 1) | called,
                "specificity": y == 0,
                "npv": ~called,
            }
            dof = effective(codes, rows[rate]) - 1
        half_width = stats.t.ppf(0.975, dof) * np.sqrt((deviations**2).sum()) / (value * (1 - value))
        expected = expit(logit(value) + np.array([-half_width, half_width]))
        np.testing.assert_allclose(finding[f"{name}_ci"], expected, rtol=1e-6, err_msg=name)


def test_validation_minus_test_is_that_difference(stored: dict[str, Any], tuning: dict[str, Any]) -> None:
    assert set(stored["optimism"]) == {"auprc", "auroc", "f1_tuned"}
    for key, gap in stored["optimism"].items():
        assert gap == pytest.approx(tuning["validation"][key] - stored[key], abs=1e-12)


def test_the_facts_of_the_evaluation_are_stored(stored: dict[str, Any], cohort: tuple[Manifest, Numbers]) -> None:
    assert stored["n"] == cohort[0].counts()
    assert stored["leak"] == {"patients": 0}  # as the disclosures say
    assert stored["test_set"] == {"id": "f00d", "name": "test"}
    assert (stored["openings"], stored["opened_by_runs"], stored["best_epoch"]) == (3, 2, 7)
    assert stored["unknown_patients"] == 5
    assert stored["warnings"] == [UNKNOWN]
    assert stored["format"] >= 2


@pytest.mark.parametrize("label", DEFINED)
def test_curves_are_scikit_learns(bundle: Any, scores: pd.DataFrame, label: str) -> None:
    curves = pd.read_parquet(bundle.curves)
    assert set(curves["label"]) == set(DEFINED)
    y, p = _column(scores, label)
    for name, points in curves[curves["label"] == label].groupby("curve"):
        for row in points[np.isfinite(points["threshold"])].iloc[::7].itertuples():
            called = p >= row.threshold
            recall, fpr = called[y == 1].mean(), called[y == 0].mean()
            expected = (recall, y[called].mean()) if name == "pr" else (fpr, recall)
            assert (row.x, row.y) == pytest.approx(expected, abs=1e-9), name
    roc = curves[(curves["label"] == label) & (curves["curve"] == "roc")]
    assert np.trapezoid(roc["y"], roc["x"]) == pytest.approx(sk.roc_auc_score(y, p), abs=0.01)


@pytest.mark.parametrize("label", ELIGIBLE)
def test_bands_enclose_their_curve(bundle: Any, label: str) -> None:
    curves, bands = pd.read_parquet(bundle.curves), pd.read_parquet(bundle.bands)
    for name, band in bands[bands["label"] == label].groupby("curve"):
        curve = curves[(curves["label"] == label) & (curves["curve"] == name)].sort_values(["x", "y"])
        inner = band[(band["x"] > 0.1) & (band["x"] < 0.9)]
        at = np.interp(inner["x"], curve["x"], curve["y"])
        assert ((inner["lower"] <= at + 0.02) & (at - 0.02 <= inner["upper"])).mean() > 0.95, name


def test_per_class_csv_holds_the_metrics_in_its_columns(bundle: Any, stored: dict[str, Any]) -> None:
    table = read_result_csv(bundle.per_class)
    bounds = [
        f"{name}_ci_{end}"
        for name in ("auprc", "auroc", *_RATES, *(f"{rate}_tuned" for rate in _RATES))
        for end in ("lower", "upper")
    ]
    tuned = ["threshold_tuned", *(f"{metric.name}_tuned" for metric in tuned_metrics())]
    assert list(table) == [
        "finding",
        *(
            "auprc",
            "auroc",
            "precision",
            "recall",
            "f1",
            "specificity",
            "npv",
            "balanced_accuracy",
            "support",
            "prevalence",
        ),
        *bounds,
        *tuned,
        *("brier", "ece", "undefined", "no_interval", "marks"),
        *("test_openings", "leak_patients", "label_origin", "warning"),
    ]
    assert table["finding"].tolist() == LABELS
    for row in table.to_dict("records"):
        values = stored["per_class"][row["finding"]]
        for name in list(table)[1 : list(table).index("undefined")]:
            key, _, end = name.partition("_ci_")
            expected = values[f"{key}_ci"][end == "upper"] if end else values[key]
            assert row[name] == pytest.approx(np.nan if expected is None else expected, abs=1e-12, nan_ok=True), name
    assert (table["test_openings"] == 3).all()
    assert table["warning"].str.contains("5 volumes have no known patient").all()
    notes = table.set_index("finding")
    assert notes["undefined"].dropna().to_dict() == {"absent": "no positive rows"}
    for label in LABELS:  # what has no interval says why
        blank = notes.loc[label, [name for name in table if name.endswith("_ci_lower")]].isna().any()
        assert blank == isinstance(notes.loc[label, "no_interval"], str), label
    assert "an interval needs 10 of each" in notes.loc["rare", "no_interval"]


def test_calibration_csv_and_reliability_are_those_of_each_stage(
    bundle: Any, scores: pd.DataFrame, tuning: dict[str, Any]
) -> None:
    table, bins = read_result_csv(bundle.calibration), pd.read_parquet(bundle.reliability)
    assert table["finding"].drop_duplicates().tolist() == LABELS
    rows = table.set_index(["finding", "stage"])
    for label in DEFINED:
        known = scores[f"target_{label}"].notna()
        y, logits = scores.loc[known, f"target_{label}"].to_numpy(int), scores.loc[known, f"logit_{label}"].to_numpy()
        patients = scores.loc[known, "patient"].to_numpy()
        maps = {
            name: {part: tuning["calibration"][name][part][label] for part in ("slope", "intercept")}
            for name in ("platt", "temperature")
        }
        for stage, one in {"before": {"slope": 1.0, "intercept": 0.0}, **maps}.items():
            p = 1 / (1 + np.exp(-(one["slope"] * logits + one["intercept"])))
            row = rows.loc[(label, stage)]
            assert row["brier"] == pytest.approx(sk.brier_score_loss(y, p), abs=1e-12), stage
            assert row["ece"] == pytest.approx(_ece(y, p, patients), abs=1e-9), stage
            assert row["brier_ci_lower"] <= row["brier"] <= row["brier_ci_upper"] or label == "rare"
            part = bins[(bins["finding"] == label) & (bins["stage"] == stage)]
            assert part["rows"].sum() == len(y)
            assert (part["forecast"] * part["rows"]).sum() == pytest.approx(p.sum(), abs=1e-9)
            assert (part["observed"] * part["rows"]).sum() == pytest.approx(y.sum(), abs=1e-9)


def _cells(text: str) -> dict[str, list[str]]:
    """Return the cells of a printed table by the name of each row; columns are two blanks apart."""
    import re

    return {parts[0]: parts[1:] for line in text.splitlines() if len(parts := re.split(r"\s{2,}", line.strip())) > 1}


def _printed(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".removeprefix("0")


def test_the_printed_table_of_a_run_holds_the_metrics_in_its_columns(stored: dict[str, Any]) -> None:
    best = {"auprc": 0.1, "auroc": 0.2, "f1_macro": 0.3}
    result = {"state": "finished", "epochs": 2, "best_epoch": 1, "best_val": best, "run_dir": "x", "warnings": []}
    cells = _cells(summaries.run_table(result | {"test": {"test.csv": stored}}))
    assert cells["set"][:3] == [metric.title for metric in averaged_metrics()]
    assert cells["validation"] == [".100", ".200", ".300"]
    assert cells["test.csv"][:3] == [_printed(stored[metric.macro]) for metric in averaged_metrics()]
    assert cells["finding"] == [*(metric.short for metric in brief_metrics()), "Pos."]
    for label in LABELS:
        values = stored["per_class"][label]
        expected = [*(_printed(values[metric.name]) for metric in brief_metrics()), f"{values['support']:.0f}"]
        assert cells[label][: len(expected)] == expected, label
    assert cells["absent"][-1] == "no positive rows"


def test_the_printed_table_of_scores_holds_metrics_and_intervals(stored: dict[str, Any]) -> None:
    cells = _cells(summaries.score_table(stored, "theirs"))

    def with_interval(value: float | None, bounds: list[float | None]) -> str:
        return _printed(value) if bounds[0] is None else f"{_printed(value)} [{', '.join(map(_printed, bounds))}]"

    declared = averaged_metrics()
    for label in LABELS:
        values = stored["per_class"][label]
        expected = [with_interval(values[one.name], values[f"{one.name}_ci"]) for one in declared]
        assert cells[label][: len(declared)] == expected, label
    assert cells["macro"] == [_printed(stored[one.macro]) for one in declared]
    eligible = [stored["macro"][f"{one.macro}_eligible"] for one in declared]
    assert cells[f"macro of {len(ELIGIBLE)} eligible"] == [
        with_interval(one["value"], [one["lo"], one["hi"]]) for one in eligible
    ]


def test_the_paper_holds_the_same_numbers(bundle: Any, stored: dict[str, Any]) -> None:
    metrics = read_metrics(bundle.metrics)
    assert metrics is not None
    frame = paper_frame(metrics)
    assert frame["finding"].tolist() == [*LABELS, "macro", "macro of eligible findings"]
    rows = frame.set_index("finding")
    for name, key in {"auprc": "auprc", "auroc": "auroc", "f1": "f1_macro", "f1_tuned": "f1_tuned"}.items():
        cells = {
            label: [stored["per_class"][label][name], *stored["per_class"][label][f"{name}_ci"]] for label in LABELS
        }
        macros = {"macro": stored["macro"][key], "macro of eligible findings": stored["macro"][f"{key}_eligible"]}
        cells |= {title: [one["value"], one["lo"], one["hi"]] for title, one in macros.items()}
        for title, expected in cells.items():
            printed = rows.loc[title, [f"{name} {part}" for part in ("value", "lo", "hi")]].tolist()
            plain = [np.nan if one is None else round(one, 3) for one in expected]
            assert printed == pytest.approx(plain, nan_ok=True), (title, name)
    assert rows.loc[LABELS, "positives"].tolist() == [stored["per_class"][label]["support"] for label in LABELS]
    text = latex_table(frame, metrics, "a_run & more", Disclosures("test", metrics.n, warnings=[UNKNOWN]))
    assert "a\\_run \\& more" in text
    assert "5 volumes have no known patient" in text
    body = [line.rstrip("\\ ").split(" & ") for line in text.splitlines() if " & " in line and "caption" not in line]
    assert body[0] == ["Finding", "Positives", "AUPRC", "AUROC", "F1", "F1, tuned"]
    assert [line[0] for line in body[1:]] == [
        *("1", "01", "NA", "None", "a,b", 'with "quotes"', "Ödem -- β", "rare", "absent"),
        *("Macro mean", "Macro mean, eligible findings"),
    ]
    for line, row in zip(body[1:], frame.to_dict("records")):
        for cell, name in zip(line[2:], ("auprc", "auroc", "f1", "f1_tuned")):
            value, low = row[f"{name} value"], row[f"{name} lo"]
            assert cell.startswith("--" if np.isnan(value) else _printed(value))
            assert ("[" in cell) == (not np.isnan(low))


def test_the_table_of_the_evaluate_page_holds_the_metrics_in_its_columns(bundle: Any, stored: dict[str, Any]) -> None:
    from ctbench_core.evaluate import per_class_frame
    from ctbench_ui.evaluate.findings import at_threshold, with_intervals

    metrics = read_metrics(bundle.metrics)
    assert metrics is not None
    for ending in ("", "_tuned"):
        shown = with_intervals(at_threshold(per_class_frame(metrics), tuned=bool(ending)))
        ranks = ("auprc", "auprc_ci", "support", "prevalence", "skill", "auroc", "auroc_ci")
        rates = ("precision", "recall", "f1")
        assert list(shown) == ["finding", *ranks, *rates, "threshold", "note"]
        assert shown["finding"].tolist() == LABELS
        for row in shown.to_dict("records"):
            values = stored["per_class"][row["finding"]]
            for name in ("support", "prevalence", "auprc", "auroc"):
                assert row[name] == pytest.approx(np.nan if values[name] is None else values[name], nan_ok=True)
            for name in rates:
                value = values[name + ending]
                assert row[name] == pytest.approx(np.nan if value is None else value, nan_ok=True), name
            assert row["threshold"] == (values["threshold_tuned"] if ending else 0.5)
            for name in ("auprc", "auroc"):
                low, high = values[f"{name}_ci"]
                expected = "" if low is None else f"[{_printed(low)}, {_printed(high)}]"
                assert ("" if pd.isna(row[f"{name}_ci"]) else row[f"{name}_ci"]) == expected, name
            if values["auprc"] is not None:
                chance = values["prevalence"]
                assert row["skill"] == pytest.approx((values["auprc"] - chance) / (1 - chance))


def test_scores_alone_hold_the_same_values_without_intervals(
    tmp_path: Path, cohort: tuple[Manifest, Numbers], tuning: dict[str, Any], stored: dict[str, Any]
) -> None:
    manifest, logits = cohort
    paths = RunPaths(tmp_path).evaluation("test")
    metrics = write_scores(paths, manifest, logits, [], tuning, Disclosures("test", manifest.counts()))
    brief = json.loads(paths.metrics.read_text(encoding="utf-8"))
    for label, values in brief["per_class"].items():
        assert not any(name.endswith("_ci") for name in values)
        for name, value in values.items():
            assert value == stored["per_class"][label][name], name
    assert brief["f1_tuned"] == stored["f1_tuned"]
    assert brief["detail"] == "scores"
    assert not metrics.has_intervals and metrics.has_tuned
    assert brief["macro"]["auroc"] == {"value": stored["auroc"], "lo": None, "hi": None, "findings": len(DEFINED)}


def test_what_is_written_is_what_is_read(bundle: Any, stored: dict[str, Any]) -> None:
    metrics = read_metrics(bundle.metrics)
    assert metrics is not None
    assert json.loads(dump_json(metrics.to_json())) == stored
    assert list(metrics.findings) == LABELS
    finding = metrics.findings["NA"]
    assert finding.value("auroc") == stored["per_class"]["NA"]["auroc"]
    assert finding.interval("auroc").to_list() == stored["per_class"]["NA"]["auroc_ci"]
    assert np.isnan(metrics.findings["absent"].value("auroc"))
    assert not metrics.findings["rare"].interval("auroc")
    assert metrics.other["unknown_openings"] == 0  # a key that is not known here is kept


def test_a_file_of_an_earlier_release_is_upgraded_as_it_is_read(stored: dict[str, Any]) -> None:
    new = ("format", "macro", "test_set", "warnings", "unknown_patients", "openings", "opened_by_runs")
    old = {name: value for name, value in stored.items() if name not in new}
    # Before format 3 the flat interval was that of the eligible findings.
    for key in macro_keys():
        old[f"{key}_ci"] = [stored["macro"][f"{key}_eligible"][end] for end in ("lo", "hi")]
    metrics = Metrics.from_json(old)
    assert metrics.macro["auroc"].value == stored["auroc"]
    assert not metrics.macro["auroc"].interval
    assert metrics.macro["auroc"].eligible is not None
    again = json.loads(dump_json(metrics.to_json()))["macro"]
    for key in macro_keys():
        for name in (key, f"{key}_eligible"):
            assert again[name].keys() == stored["macro"][name].keys()
            for part, value in stored["macro"][name].items():
                assert again[name][part] == (None if value is None else pytest.approx(value, rel=1e-12)), (name, part)
    assert metrics.openings is None and metrics.test_set.id == "" and metrics.unknown_patients == 0
    assert read_metrics(Path("nowhere.json")) is None


def test_names_of_digits_alone_stay_text(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("finding,auroc,undefined\n1,.5,\n01,,one class\n", encoding="utf-8")
    table = read_result_csv(tmp_path / "table.csv")
    assert table["finding"].tolist() == ["1", "01"]
    assert table["auroc"].iloc[0] == 0.5 and np.isnan(table["auroc"].iloc[1])
    assert table["undefined"].isna().tolist() == [True, False]


def test_one_volume_a_patient_is_a_second_analysis(stored: dict[str, Any], scores: pd.DataFrame) -> None:
    first = scores.assign(size=scores["exam"].str.len()).sort_values(["size", "exam"]).drop_duplicates("patient")
    own = stored["one_volume_a_patient"]
    assert own["n"]["volumes"] == own["n"]["patients"] == len(first) < len(scores)
    for label in ELIGIBLE:
        y, p = _column(first, label)
        assert own["per_class"][label]["auroc"] == pytest.approx(sk.roc_auc_score(y, p), abs=1e-12)
        low, high = own["per_class"][label]["auroc_ci"]
        assert low < own["per_class"][label]["auroc"] < high
    assert "openings" not in own
    assert Metrics.from_json(stored).one_volume.macro["auprc"].value == own["auprc"]  # type: ignore[union-attr]


def test_decision_curves_are_those_of_platt_probabilities(bundle: Any, scores: pd.DataFrame, tuning: Any) -> None:
    table = pd.read_parquet(bundle.net_benefit)
    assert table["finding"].drop_duplicates().tolist() == LABELS
    for label in ELIGIBLE:
        known = scores[f"target_{label}"].notna()
        y, logits = (scores.loc[known, f"{part}_{label}"].to_numpy(float) for part in ("target", "logit"))
        maps = tuning["calibration"]["platt"]
        p = 1 / (1 + np.exp(-(maps["slope"][label] * logits + maps["intercept"][label])))
        for row in table[table["finding"] == label].iloc[::13].itertuples():
            called = p >= row.threshold
            benefit = (y[called] == 1).sum() - (y[called] == 0).sum() * row.threshold / (1 - row.threshold)
            assert row.model == pytest.approx(benefit / len(y), abs=1e-12)
    assert (table.loc[table["finding"] == "rare", "reason"].str.contains("10 are needed")).all()
