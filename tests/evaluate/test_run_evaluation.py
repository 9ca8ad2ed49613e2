"""An evaluation knows its test set and how often it was opened, and notices inputs that changed since training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import Config
from ctbench_core.dataset import NOT_VERIFIABLE
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.manifest import read_manifest
from ctbench_core.report import run_paper
from ctbench_core.runs import Ledger, disclosures_of, open_run, set_id_of, validation_set_id

Build = Callable[..., Config]
Train = Callable[..., Path]


@pytest.fixture
def train(make_config: Build, data: Path) -> Train:
    """Return a function that trains a run on a data folder, by default one that the test may change."""

    def make(folder: Path | None = None, **changes: Any) -> Path:
        quick = {"training.max_epochs": 1, "evaluation.detail": "scores", **changes}
        return Path(run_experiment(make_config(folder or data, quick))["run_dir"])

    return make


def stored(run: Path, test: str = "test") -> dict[str, Any]:
    return json.loads((run / "evaluation" / test / "metrics.json").read_text(encoding="utf-8"))


def replace_vectors(data: Path, exams: str) -> None:
    for path in (data / "features" / "image").glob(exams):
        np.savez(path, np.random.default_rng(9).normal(size=(1, 16)).astype(np.float32))


def test_openings_are_the_same_in_every_file(train: Train, data: Path, tmp_path: Path) -> None:
    first, second = train(), train(**{"utils.seed": 2, "job_name": "other"})
    other = Path(shutil.copytree(data, tmp_path / "second"))
    table = pd.read_csv(other / "manifests" / "test.csv")
    table["Emphysema"] = 1 - table["Emphysema"]
    table.to_csv(other / "manifests" / "test.csv", index=False)
    elsewhere = train(other)  # its test.csv is another set
    for run, count in ((first, 1), (first, 2), (second, 3), (elsewhere, 1), (second, 4)):
        assert evaluate_run(run)["test"]["test.csv"]["openings"] == count
        assert stored(run)["openings"] == count
        assert set(pd.read_csv(run / "evaluation" / "test" / "per_class.csv")["test_openings"]) == {count}
    assert (stored(second)["opened_by_runs"], stored(elsewhere)["opened_by_runs"]) == (2, 1)
    assert "evaluated 4 times by 2 runs" in run_paper(open_run(first), "test")["methods.txt"]
    assert "evaluated 1 time by 1 run" in " ".join(disclosures_of([open_run(elsewhere)], "test").methods())
    assert stored(first)["test_set"] == {
        "id": read_manifest(data / "manifests" / "test.csv").identity.id,
        "name": "test",
    }
    assert stored(first)["test_set"] == stored(second)["test_set"] != stored(elsewhere)["test_set"]
    lines = Ledger(first.parents[1]).openings()
    assert [line.test_set for line in lines].count(stored(first)["test_set"]["id"]) == 4


def test_a_renamed_and_shuffled_test_set_is_the_same_set(train: Train, data: Path) -> None:
    run = train()
    evaluate_run(run)
    table = pd.read_csv(data / "manifests" / "test.csv")
    table.iloc[::-1][table.columns[::-1]].to_csv(data / "manifests" / "again.csv", index=False)
    assert evaluate_run(run, ["again.csv"])["test"]["again.csv"]["openings"] == 2
    assert stored(run, "again")["test_set"]["id"] == stored(run)["test_set"]["id"]


def test_skipped_rows_do_not_make_another_test_set(train: Train, data: Path) -> None:
    run = train(**{"data.on_bad_feature": "drop"})
    evaluate_run(run)
    (data / "features" / "image" / "test_3_a.npz").unlink()
    again = evaluate_run(run)["test"]["test.csv"]
    assert (again["openings"], again["n"]["volumes"]) == (2, 22)


def test_changed_features_are_told_with_the_metrics(train: Train, data: Path) -> None:
    run = train()
    assert not [text for text in evaluate_run(run)["warnings"] if "changed" in text]
    assert stored(run)["warnings"] == []
    replace_vectors(data, "train_1?_a.npz")
    result = evaluate_run(run)
    text = (
        "The visual features changed since training: 20 of 88 volumes (train_10_a_1, train_10_a_2, train_11_a_1, ...)."
    )
    assert text in result["warnings"]
    assert stored(run)["warnings"] == [text]
    assert set(pd.read_csv(run / "evaluation" / "test" / "per_class.csv")["warning"]) == {text.rstrip(".")}
    disclosures = disclosures_of([open_run(run)], "test")
    assert text in disclosures.sentences()
    assert text in disclosures.methods()


def test_changed_labels_are_told(train: Train, data: Path) -> None:
    run = train()
    table = pd.read_csv(data / "manifests" / "valid.csv")
    table.loc[4, "Emphysema"] = 1 - table.loc[4, "Emphysema"]
    table.to_csv(data / "manifests" / "valid.csv", index=False)
    assert (
        "The validation labels changed since training: 1 of 28 volumes (valid_3_a_1)." in evaluate_run(run)["warnings"]
    )


def test_an_old_run_is_not_verifiable_and_evaluated_all_the_same(train: Train, data: Path) -> None:
    run = train()
    content = json.loads((run / "provenance.json").read_text(encoding="utf-8"))
    del content["inputs"]
    (run / "provenance.json").write_text(json.dumps(content), encoding="utf-8")
    replace_vectors(data, "train_*_a.npz")
    result = evaluate_run(run)
    assert NOT_VERIFIABLE in result["warnings"]
    assert not [text for text in result["warnings"] if "changed" in text]
    assert result["test"]["test.csv"]["openings"] == 1


def test_inputs_that_are_gone_are_not_verifiable(train: Train, data: Path) -> None:
    run = train()
    (data / "manifests" / "train.csv").unlink()
    texts = evaluate_run(run)["warnings"]
    assert "Inputs not verifiable: the training manifest was not found." in texts
    assert any("train.csv" in text for text in texts)
    for path in (data / "features" / "image").glob("train_*"):
        path.unlink()
    assert evaluate_run(run)["test"]["test.csv"]["openings"] == 2


def test_data_that_was_moved_is_the_same(train: Train, make_config: Build, data: Path, tmp_path: Path) -> None:
    run = train()
    moved = Path(shutil.move(data, tmp_path / "moved"))
    result = evaluate_run(run, config=make_config(moved))
    assert not [text for text in result["warnings"] if "changed" in text or "verifiable" in text]


def test_a_moved_store_keeps_its_own_ledger(train: Train, tmp_path: Path) -> None:
    run = train()
    moved = Path(shutil.move(run.parents[1], tmp_path / "moved"))
    evaluate_run(moved / run.parent.name / run.name)
    assert [opening.run_id for opening in Ledger(moved).openings()] == [run.name]
    assert not run.parents[1].exists()


def test_an_external_test_set_leaves_the_training_data_where_it_was(
    train: Train, make_config: Build, data: Path, tmp_path: Path
) -> None:
    run = train()
    external = Path(shutil.copytree(data, tmp_path / "external"))
    for name in ("train.csv", "valid.csv"):  # of another hospital
        table = pd.read_csv(external / "manifests" / name)
        table["volumename"] = "other_" + table["volumename"]
        table.to_csv(external / "manifests" / name, index=False)
    result = evaluate_run(run, config=make_config(external))
    assert not [text for text in result["warnings"] if "changed" in text or "verifiable" in text]


def test_stored_sets_have_the_identity_of_their_manifests(train: Train, data: Path) -> None:
    folder = train(**{"evaluation.detail": "full"})  # with a table of validation scores
    evaluate_run(folder)
    run = open_run(folder)
    test, valid = (read_manifest(data / "manifests" / name).identity.id for name in ("test.csv", "valid.csv"))
    assert (set_id_of(run, "test"), validation_set_id(run), set_id_of(run, "validation")) == (test, valid, valid)
    # A run from before identities has them in its tables of scores.
    metrics = stored(folder)
    del metrics["test_set"]
    (folder / "evaluation" / "test" / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (folder / "provenance.json").write_text("{}", encoding="utf-8")
    assert (set_id_of(run, "test"), validation_set_id(run)) == (test, valid)
    run.paths.validation_scores.unlink()
    assert validation_set_id(run) is None


def test_validation_sets_of_budgets_are_apart(train: Train) -> None:
    runs = [
        open_run(train(**changes))
        for changes in (
            {},
            {"utils.seed": 5},
            {"data.budget": 10},
            {"data.budget": 10, "utils.seed": 5},
            {"data.budget": 10, "utils.seed": 5, "data.budget_seed": 42},
        )
    ]
    ids = [validation_set_id(run) for run in runs]
    assert ids[0] == ids[1]
    assert ids[2] == ids[4]
    assert len(set(ids)) == 3
