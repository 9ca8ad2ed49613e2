"""Stores written by earlier releases open unchanged: the same metrics, comparisons, studies and alignments.

``data/store-<version>.zip`` holds a small run store with its data and ``expected.json``, what that release printed:
runs (MLP with two seeds, logistic, one that was never evaluated), a table of predictions, a study of label budgets,
an alignment and a saved data set.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.dataset import NOT_VERIFIABLE
from ctbench_core.runs import RunStore, read_annotations

PROJECT = Path(__file__).resolve().parents[1]
COUNTS = ("openings", "opened_by_runs")  # were counted by file name and job, now by the test set's identity
# Intervals and tests follow today's rules (docs/metrics.md), and ECE is debiased.
RULES = (
    *("lo", "hi", "p", "p_adjusted", "p_delong", "reason", "family", "patient_error", "seed_error", "best", "settings"),
    *("ece", "no_interval", "macro_no_interval", "macro_interval_labels", "macro", "format"),
)
STORES = sorted((Path(__file__).parent / "data").glob("store-*.zip"))


@pytest.fixture(params=STORES, ids=lambda path: path.stem)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unpack one old store and make its folder the working folder, since its paths are relative."""
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def expected(store: Path) -> dict[str, Any]:
    """Return what the old release printed."""
    return json.loads((store / "expected.json").read_text(encoding="utf-8"))


def _close(now: Any, then: Any, where: str = "") -> None:
    """Compare two JSON values, numbers to 1e-9; keys that a later release added are allowed."""
    if isinstance(then, dict):
        compared = then.keys() - {"seconds", "warnings", "notes", "run_dir", "study_dir", "peak_gib", *COUNTS, *RULES}
        compared = {key for key in compared if not key.endswith("_ci")}
        assert compared <= now.keys(), where
        for key in compared:
            _close(now[key], then[key], f"{where}/{key}")
    elif isinstance(then, list):
        assert len(now) == len(then), where
        for k, pair in enumerate(zip(now, then)):
            _close(*pair, where=f"{where}/{k}")
    elif isinstance(then, float):
        assert now == pytest.approx(then, abs=1e-9), where
    else:
        assert now == then, where


def test_every_run_is_listed_with_its_metrics(store: Path, expected: dict[str, Any]) -> None:
    runs = {run.run_id: run for run in RunStore(Path("outputs")).runs()}
    assert len(runs) == 8  # four trained alone, four of the study
    assert all(run.status.state == "finished" for run in runs.values())
    for old in expected["train"]:
        run = runs[Path(old["run_dir"]).name]
        for name, metrics in old["test"].items():
            stored = json.loads(run.paths.evaluation(name).metrics.read_text(encoding="utf-8"))
            _close(
                {key: stored[key] for key in metrics if key in stored}, {k: metrics[k] for k in metrics if k in stored}
            )
    assert read_annotations(Path(expected["train"][0]["run_dir"])).tags == ["paper"]


def test_compare_gives_the_same_differences(cli: Any, store: Path, expected: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.chdir(store)
    first, second, logistic, _ = (run["run_dir"] for run in expected["train"])
    for words, old in (((first, logistic), "compare"), ((first, second, logistic, "by=recipe"), "recipes")):
        result = cli("compare", *words).json
        _close(
            result,
            {key: value for key, value in expected[old].items() if key not in ("names", "figures", "differences")},
        )
        named = dict(zip(expected[old]["names"], result["names"], strict=True))  # later names begin with what differs
        for table, names in (
            ("figures", ("model", "metric", "finding")),
            ("differences", ("a", "b", "metric", "label")),
        ):
            old_rows = [
                row | {name: named[row[name]] for name in ("model", "a", "b") if name in row}
                for row in expected[old][table]
            ]
            now, then = (
                {tuple(row[name] for name in names): row for row in rows} for rows in (result[table], old_rows)
            )
            # The macro mean was over the findings with an interval, and is over all.
            findings = [key for key in then if key[-1] != "macro"]
            assert findings
            for key in findings:
                _close(now[key], then[key], str(key))


def test_old_evaluations_are_of_unknown_sets_and_new_ones_count(
    cli: Any, store: Path, expected: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.chdir(store)
    lines = (store / "outputs" / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
    run = f"run={expected['train'][0]['run_dir']}"
    for count in (1, 2):
        result = cli("evaluate", run).json
        metrics = result["test"]["test.csv"]
        assert (metrics["openings"], metrics["unknown_openings"]) == (count, len(lines))
        assert NOT_VERIFIABLE in result["warnings"]
        assert "changed" not in str(result["warnings"])


def test_a_study_reuses_every_finished_run(cli: Any, store: Path, expected: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.chdir(store)
    study = cli("study", "study.yaml").json
    assert (study["reused"], study["runs"]) == (expected["study"]["runs"], expected["study"]["runs"])
    _close(study["by_cell"], expected["study"]["by_cell"])


def test_alignment_scores_and_a_new_evaluation_agree(
    cli: Any, store: Path, expected: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.chdir(store)
    aligned = expected["align"]
    stored = Path(aligned["run_dir"], "alignment", "test", "metrics.json")
    _close(json.loads(stored.read_text(encoding="utf-8")), {k: v for k, v in aligned.items() if k != "n"})
    again = cli("evaluate", f"run={expected['train'][0]['run_dir']}").json
    for key in ("auprc", "auroc", "f1_macro", "per_class"):
        _close(again["test"]["test.csv"][key], expected["train"][0]["test"]["test.csv"][key], key)
    scored = cli("score", "predictions.csv", "paths.outputs_root=outputs").json
    _close({k: scored[k] for k in ("auprc", "auroc")}, {k: expected["score"][k] for k in ("auprc", "auroc")})


@pytest.mark.parametrize("page", ["home", "data", "train", "runs", "evaluate", "compare", "alignment", "studies"])
def test_pages_open_on_an_old_store(store: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(store / "outputs"))
    app = AppTest.from_file(str(PROJECT / "ctbench_ui" / "main.py"), default_timeout=60).run()
    if page != "home":
        app = app.switch_page(f"../pages/{page}.py").run()
    assert not app.exception
    assert not app.error
