"""A metric is one declaration and the function that it names: files, tables, comparison, paper and pages follow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import matthews_corrcoef

from ctbench_core.runs import read_metrics

PROJECT = Path(__file__).resolve().parents[2]
LABELS = ["Mass", "Effusion"]

# A metric of somebody: Matthews correlation (Biochim. Biophys. Acta 1975).
FUNCTION = """
import numpy as np

def added_mcc(counts):
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    scale = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return np.divide(tp * tn - fp * fn, scale, out=np.full(np.shape(scale), np.nan), where=scale != 0)
"""

SCRIPT = """
from ctbench_core.declared import METRICS, Metric

METRICS.add(
    Metric(
        "added_mcc",
        "Matthews correlation",
        "MCC",
        "Correlation of predictions and labels.",
        function="their_metric:added_mcc",
        undefined="every row, or none, is predicted positive",
        low=-1.0,
        interval="jackknife",
        macro="added_mcc_macro",
        tuned=True,
        compared=True,
    )
)

import contextlib, io, json, sys
from pathlib import Path

from ctbench_core.cli.main import main

folder, calls = Path(sys.argv[1]), json.loads(sys.argv[2])
for name, words in calls.items():
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        code = main([*words, "--json"])
    (folder / f"{name}.txt").write_text(text.getvalue(), encoding="utf-8")
    assert code == 0, name

from streamlit.testing.v1 import AppTest

app = AppTest.from_file(sys.argv[3], default_timeout=60).run().switch_page("../pages/evaluate.py").run()
assert not app.exception and not app.error, [one.value for one in (*app.exception, *app.error)]
table = next(frame.value for frame in app.dataframe if "added_mcc" in frame.value)
shown = {"cards": [card.label for card in app.metric], "columns": list(table), "added_mcc": table["added_mcc"].tolist()}
(folder / "page.json").write_text(json.dumps(shown), encoding="utf-8")
"""


def _write_data(folder: Path) -> None:
    """Write 80 + 40 + 80 patients with one volume each, 8 dimensions and two findings that are hard to separate."""
    draw = np.random.default_rng(1)
    (folder / "features").mkdir()
    for split, count in {"train": 80, "valid": 40, "test": 80}.items():
        names = [f"{split}_{number}_a_1" for number in range(count)]
        vectors = draw.normal(size=(count, 8)).astype(np.float32)
        for name, vector in zip(names, vectors):
            np.save(folder / "features" / f"{name}.npy", vector)
        table = pd.DataFrame({"volumename": names, "visual_feature_path": names})
        for place, label in enumerate(LABELS):
            table[label] = (vectors[:, place] + draw.normal(size=count) > 0).astype(int)
        table.to_csv(folder / f"{split}.csv", index=False)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Register the metric in a process of its own, run the verbs and a page there, and return the folder of results."""
    folder = tmp_path_factory.mktemp("metric")
    (folder / "their_metric.py").write_text(FUNCTION, encoding="utf-8")
    _write_data(folder)
    data = ["paths.data_root=features", "paths.manifest_dir=.", "paths.outputs_root=outputs"]
    quick = [*data, "training.max_epochs=8", "training.learning_rate=.05", "model.params.hidden_dims=[8]"]
    quick += ["training.monitor=added_mcc_macro", "evaluation.after_training=true"]
    runs = [str(folder / f"outputs/train/{seed}") for seed in (1, 2)]
    calls = {
        "first": ["train", *quick, "utils.seed=1", f"paths.run_dir={runs[0]}"],
        "second": ["train", *quick, "utils.seed=2", f"paths.run_dir={runs[1]}"],
        "compare": ["compare", *runs, "paper=paper"],
        "score": ["score", f"{runs[0]}/evaluation/test/scores.parquet", "paths.outputs_root=outputs"],
        "export": ["export", runs[0]],
        "study": ["study", "study.yaml", *data, "paths.outputs_root=studies"],
    }
    base = "{training.max_epochs: 3, training.learning_rate: .05, model.params.hidden_dims: [4]}"
    (folder / "study.yaml").write_text(f"name: seeds\nbase: {base}\ngrid: {{utils.seed: [1, 2]}}\n", encoding="utf-8")
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{folder}", "CTBENCH_OUTPUTS": "outputs"}
    command = [sys.executable, "script.py", str(folder), json.dumps(calls), str(PROJECT / "ctbench_ui" / "main.py")]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    return folder


def _last(done: Path, name: str) -> dict[str, Any]:
    return json.loads((done / f"{name}.txt").read_text(encoding="utf-8").splitlines()[-1])


def _expected(done: Path, thresholds: Callable[[str], float] = lambda label: 0.5) -> dict[str, float]:
    scores = pd.read_parquet(done / "outputs/train/1/evaluation/test/scores.parquet")
    return {
        label: matthews_corrcoef(scores[f"target_{label}"].astype(int), scores[f"prob_{label}"] >= thresholds(label))
        for label in LABELS
    }


def test_values_in_json_and_files_are_those_of_scikit_learn(done: Path) -> None:
    bundle = done / "outputs/train/1/evaluation/test"
    stored = json.loads((bundle / "metrics.json").read_text(encoding="utf-8"))
    table = pd.read_csv(bundle / "per_class.csv", index_col="finding")
    expected = _expected(done)
    for found in (stored, _last(done, "first")["test"]["test.csv"], _last(done, "score")):
        for label, value in expected.items():
            assert found["per_class"][label]["added_mcc"] == pytest.approx(value, abs=1e-12)
        assert found["added_mcc_macro"] == pytest.approx(sum(expected.values()) / len(expected), abs=1e-12)
        assert found["macro"]["added_mcc_macro"]["findings"] == len(expected)
    tuned = _expected(done, lambda label: table.loc[label, "threshold_tuned"])
    assert table["added_mcc"].to_dict() == pytest.approx(expected, abs=1e-12)
    assert table["added_mcc_tuned"].to_dict() == pytest.approx(tuned, abs=1e-12)
    assert _last(done, "first")["best_val"]["added_mcc_macro"] > -1


def test_an_interval_stands_beside_it(done: Path) -> None:
    stored = json.loads((done / "outputs/train/1/evaluation/test/metrics.json").read_text(encoding="utf-8"))
    scores = pd.read_parquet(done / "outputs/train/1/evaluation/test/scores.parquet")
    for label in LABELS:
        low, high = stored["per_class"][label]["added_mcc_ci"]
        y, calls = scores[f"target_{label}"].to_numpy(int), scores[f"prob_{label}"].to_numpy() >= 0.5
        rows = np.random.default_rng(0).integers(0, len(y), (200, len(y)))  # one volume a patient
        draws = [matthews_corrcoef(y[one], calls[one]) for one in rows]
        assert low < stored["per_class"][label]["added_mcc"] < high
        assert (low, high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.06)
    assert (
        stored["macro"]["added_mcc_macro"]["lo"] < stored["added_mcc_macro"] < stored["macro"]["added_mcc_macro"]["hi"]
    )


def test_the_printed_tables_hold_it(done: Path) -> None:
    for name in ("first", "score", "compare"):
        text = (done / f"{name}.txt").read_text(encoding="utf-8")
        assert "Matthews correlation" in text, name
    macro = _last(done, "first")["test"]["test.csv"]["added_mcc_macro"]
    line = next(one for one in (done / "first.txt").read_text(encoding="utf-8").splitlines() if one.startswith("test"))
    assert f"{abs(macro):.3f}".lstrip("0") in line


def test_p_is_that_of_swapping_the_models_calls_patient_by_patient(done: Path) -> None:
    first, second = (pd.read_parquet(done / f"outputs/train/{run}/evaluation/test/scores.parquet") for run in (1, 2))
    draw = np.random.default_rng(0)
    for label in LABELS:
        y, calls = (
            first[f"target_{label}"].to_numpy(int),
            [one[f"prob_{label}"].to_numpy() >= 0.5 for one in (first, second)],
        )
        swaps = [np.where(draw.random(len(y)) < 0.5, calls[::-1], calls) for _ in range(300)]  # one volume a patient
        gaps = np.abs([matthews_corrcoef(y, a) - matthews_corrcoef(y, b) for a, b in (calls, *swaps)])
        (row,) = (
            one
            for one in _last(done, "compare")["differences"]
            if (one["metric"], one["label"]) == ("added_mcc", label)
        )
        assert row["p"] == pytest.approx(np.mean(gaps[1:] >= gaps[0] - 1e-12), abs=0.1)


def test_comparison_and_paper_hold_it(done: Path) -> None:
    comparison = _last(done, "compare")
    rows = {row["label"]: row["delta"] for row in comparison["differences"] if row["metric"] == "added_mcc"}
    scores = pd.read_parquet(done / "outputs/train/2/evaluation/test/scores.parquet")
    for label, value in _expected(done).items():
        other = matthews_corrcoef(scores[f"target_{label}"].astype(int), scores[f"prob_{label}"] >= 0.5)
        assert rows[label] == pytest.approx(other - value, abs=1e-12)
    assert "added_mcc" in set(pd.read_csv(done / "paper/table.csv")["metric"])
    assert "Matthews correlation &" in (done / "paper/table.tex").read_text(encoding="utf-8")
    assert "Matthews correlation" in (done / "paper/methods.txt").read_text(encoding="utf-8")


def test_the_export_and_its_paper_hold_it(done: Path) -> None:
    import io
    import zipfile

    with zipfile.ZipFile(_last(done, "export")["path"]) as archive:
        files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    table = pd.read_csv(io.BytesIO(files["paper/test/table.csv"])).set_index("finding")
    expected = _expected(done)
    assert table.loc[list(expected), "added_mcc value"].to_dict() == pytest.approx(expected, abs=5.1e-4)
    assert " & MCC & " in files["paper/test/table.tex"].decode()
    assert "Matthews correlation at threshold 0.5" in files["paper/test/methods.txt"].decode()
    assert "added_mcc" in pd.read_csv(io.BytesIO(files["evaluation/test/per_class.csv"]))


def test_a_study_summarises_it(done: Path) -> None:
    study = _last(done, "study")
    runs = pd.read_csv(done / study["table"])
    (cell,) = (one for one in study["by_cell"] if one["metric"] == "added_mcc_macro")
    assert cell["mean"] == pytest.approx(runs["test_added_mcc_macro"].mean(), abs=1e-6)
    # Two seeds have a range over seeds, no interval.
    assert cell["range_lo"] < cell["mean"] < cell["range_hi"]


def test_the_evaluate_page_shows_it(done: Path) -> None:
    shown = json.loads((done / "page.json").read_text(encoding="utf-8"))
    assert {"Macro MCC @ .5", "Macro MCC, tuned"} <= set(shown["cards"])
    assert {"added_mcc", "added_mcc_ci"} <= set(shown["columns"])


def test_a_bundle_from_before_opens_and_says_what_it_lacks(done: Path) -> None:
    code = (
        "from ctbench_core.declared import METRICS, Metric\n"
        "METRICS.add(Metric('gmean', 'Geometric mean', 'G', function='their_metric:gmean'))\n"
        "from pathlib import Path\n"
        "from ctbench_core.evaluate import per_class_frame\n"
        "from ctbench_core.runs import read_metrics\n"
        "frame = per_class_frame(read_metrics(Path('outputs/train/1/evaluation/test/metrics.json')))\n"
        "assert frame['gmean'].isna().all() and frame['auroc'].notna().all()\n"
        "assert frame['undefined'].str.contains('Geometric mean: not computed').all()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=done, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    # Here, where the metric is not registered, its values are kept and nothing is lost.
    metrics = read_metrics(done / "outputs/train/1/evaluation/test/metrics.json")
    assert metrics is not None
    assert metrics.findings[LABELS[0]].value("added_mcc") == pytest.approx(_expected(done)[LABELS[0]], abs=1e-12)
