"""One macro mean a run wherever it is shown, never outside its interval; and one volume a patient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.cli import summaries
from ctbench_core.evaluate.bundle import compute_metrics, with_intervals, with_one_volume, write_bundle
from ctbench_core.evaluate.tuning import fit_tuning
from ctbench_core.formatting import format_interval
from ctbench_core.manifest import Manifest
from ctbench_core.report.evaluation import latex_table, paper_frame
from ctbench_core.runs import Disclosures, Metrics, RunPaths, read_metrics


def make_manifest(
    volumes: list[str], patients: list[str], targets: np.ndarray, exams: list[str] | None = None
) -> Manifest:
    """Return a manifest of rows whose reconstruction is the last number of the volume's name."""
    names = np.array(volumes, object)
    return Manifest(
        name="test.csv",
        path=Path("test.csv"),
        digest="",
        volumes=names,
        exams=np.array(exams or volumes, object),
        patients=np.array(patients, object),
        recons=np.array([int(one.rpartition("_")[2]) for one in volumes]),
        labels=[f"finding {c}" for c in range(targets.shape[1])],
        targets=targets.astype(np.float32),
        visual_paths=names,
        text_paths=None,
        frame=pd.DataFrame({"volumename": names}),
        lines=np.arange(len(names)),
    )


def small_cohort(seed: int) -> tuple[Manifest, np.ndarray]:
    """Draw 25 to 90 patients with a few volumes each; findings are frequent, rare or absent, some labels unknown."""
    draw = np.random.default_rng(seed)
    patients, findings = int(draw.integers(25, 90)), int(draw.integers(1, 6))
    rows = np.repeat(np.arange(patients), draw.integers(1, 5, patients))
    share = draw.choice([0.0, 0.04, 0.15, 0.3, 0.5, 0.9], findings)
    targets = (draw.random((patients, findings)) < share)[rows].astype(float)
    strength = draw.choice([0.0, 0.8, 3.0, 9.0], findings)
    scores = draw.normal(size=(len(rows), findings)) + strength * targets
    if draw.random() < 0.4:
        scores = np.round(scores)  # ties
    targets[draw.random(targets.shape) < 0.05] = np.nan
    volumes = [f"valid_{patient}_a_{row}" for row, patient in enumerate(rows)]
    return make_manifest(volumes, [f"valid_{patient}" for patient in rows], targets), 1 / (1 + np.exp(-scores))


@pytest.mark.parametrize("seed", range(40))
def test_no_figure_lies_outside_its_interval(seed: int) -> None:
    manifest, probabilities = small_cohort(seed)
    metrics = with_intervals(compute_metrics(manifest, probabilities, []), manifest, probabilities)
    for key, one in metrics.macro.items():
        assert one.value == pytest.approx(metrics.macro_values[key], nan_ok=True)
        for mean in filter(None, (one, one.eligible)):
            assert not mean.interval or mean.interval.lo <= mean.value <= mean.interval.hi, key
        # An interval stands beside the macro only if it averages what the macro averages.
        name = "f1" if key == "f1_macro" else key
        defined = [label for label, finding in metrics.findings.items() if not np.isnan(finding.value(name))]
        if one.interval:
            assert set(defined) <= set(metrics.eligible)
        elif defined:
            assert metrics.macro_no_interval[key]
        if one.eligible:
            usable = [label for label in defined if label in metrics.eligible]
            assert one.eligible.findings == len(usable) < len(defined)
            assert one.eligible.value == pytest.approx(np.mean([metrics.findings[x].value(name) for x in usable]))
    for finding in metrics.findings.values():
        for name, interval in finding.intervals.items():
            if interval:
                assert interval.lo <= finding.value(name) <= interval.hi, name
            else:
                assert finding.interval_note(), name


@pytest.fixture(scope="module", params=["all findings eligible", "one is rare"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Write the bundle of a cohort of 120 patients."""
    draw = np.random.default_rng(5)
    rows = np.repeat(np.arange(120), draw.integers(1, 4, 120))
    share = [0.4, 0.3, 0.3] if request.param == "all findings eligible" else [0.4, 0.3, 0.04]
    targets = (draw.random((120, 3)) < share)[rows].astype(float)
    targets[:2, 2] = 1
    logits = draw.normal(-0.5, 1, targets.shape) + 1.2 * targets
    volumes = [f"valid_{patient}_a_{row}" for row, patient in enumerate(rows)]
    manifest = make_manifest(volumes, [f"valid_{patient}" for patient in rows], targets)
    paths = RunPaths(tmp_path_factory.mktemp("run")).evaluation("test")
    tuning = json.loads(json.dumps(fit_tuning(manifest, logits)))
    write_bundle(paths, manifest, logits, [], tuning=tuning)
    return paths


def test_every_surface_shows_one_macro_with_one_interval(bundle: Any) -> None:
    stored = json.loads(bundle.metrics.read_text(encoding="utf-8"))
    metrics = read_metrics(bundle.metrics)
    assert metrics is not None
    page = {key: (one.value, one.interval.to_list(), one.eligible) for key, one in metrics.macro.items()}
    table = pd.DataFrame(paper_frame(metrics)).set_index("finding")
    latex = latex_table(paper_frame(metrics), metrics, "run", Disclosures("test", dict(metrics.n)))
    printed = summaries.score_table(stored, "run")
    per_class = pd.read_csv(bundle.per_class)
    assert set(page) == {"auprc", "auroc", "f1_macro", "f1_tuned"}
    for key, (value, bounds, eligible) in page.items():
        name = key.removesuffix("_macro")
        assert stored[key] == stored["macro"][key]["value"] == value
        plain = [None if np.isnan(one) else one for one in bounds]
        assert stored[f"{key}_ci"] == [stored["macro"][key]["lo"], stored["macro"][key]["hi"]] == plain
        assert per_class[name].mean() == pytest.approx(value, abs=1e-12)
        row = table.loc["macro", [f"{name} {part}" for part in ("value", "lo", "hi")]].tolist()
        assert row == pytest.approx([round(one, 3) for one in (value, *bounds)], nan_ok=True)
        text = format_interval(value, bounds)
        if name != "f1_tuned":
            assert text in next(line for line in printed.splitlines() if line.startswith("macro "))
        latex_line = next(line for line in latex.splitlines() if line.startswith("Macro mean &"))
        assert f"{value:.3f}".removeprefix("0") in latex_line
        assert (eligible is None) == (len(stored["eligible"]) == len(metrics.findings))
        if eligible is None:
            assert f"{key}_eligible" not in stored["macro"]
        else:
            own = stored["macro"][f"{key}_eligible"]
            assert (own["value"], own["lo"], own["hi"]) == (eligible.value, *eligible.interval.to_list())
            assert own["findings"] == len(stored["eligible"]) == 2
            assert own["lo"] < own["value"] < own["hi"]


def test_the_first_reconstruction_of_the_first_exam_is_chosen() -> None:
    volumes = ["v_1_b_1", "v_1_a_10", "v_1_a_2", "v_2_aa_1", "v_2_b_3", "v_3_a_1"]
    exams = ["v_1_b", "v_1_a", "v_1_a", "v_2_aa", "v_2_b", "v_3_a"]
    targets = np.array([[0], [0], [1], [0], [1], [0]])
    probabilities = np.linspace(0.1, 0.6, 6)[:, None]
    manifest = make_manifest(volumes, ["1", "1", "1", "2", "2", "3"], targets, exams)
    metrics = with_one_volume(compute_metrics(manifest, probabilities, []), manifest, probabilities)
    own = metrics.one_volume
    assert own is not None and own.n["volumes"] == 3
    # v_1_a_2 and v_2_b_3 are positive, v_3_a_1 is negative and has the highest score.
    assert own.findings["finding 0"].value("support") == 2
    assert own.macro_values["auroc"] == 0.0
    content = json.loads(json.dumps(metrics.to_json(), default=float).replace("NaN", "null"))
    again = Metrics.from_json(content).one_volume
    assert again is not None and again.macro_values["auroc"] == 0.0


def test_patients_of_one_volume_need_no_second_analysis() -> None:
    manifest = make_manifest(["a_1", "b_1"], ["a", "b"], np.array([[0], [1]]))
    probabilities = np.array([[0.2], [0.7]])
    assert with_one_volume(compute_metrics(manifest, probabilities, []), manifest, probabilities).one_volume is None


def test_the_interval_of_an_earlier_release_stands_beside_the_mean_that_it_is_of() -> None:
    """Before format 3 the macro averaged all findings, and its interval only those that had one."""
    frequent, rare = {"auroc": 0.9, "auroc_ci": [0.8, 0.95]}, {"auroc": 0.5, "auroc_ci": [None, None]}
    old: dict[str, Any] = {"format": 2, "auroc": 0.7, "auroc_ci": [0.8, 0.95]}
    mean = Metrics.from_json(old | {"per_class": {"a": frequent, "b": rare}}).macro["auroc"]
    assert (mean.value, mean.findings) == (0.7, 2) and not mean.interval
    assert mean.eligible is not None
    assert (mean.eligible.value, mean.eligible.findings) == (0.9, 1)
    assert mean.eligible.interval.to_list() == [0.8, 0.95]
    alone = Metrics.from_json(old | {"auroc": 0.9, "per_class": {"a": frequent}}).macro["auroc"]
    assert alone.interval.to_list() == [0.8, 0.95] and alone.eligible is None
