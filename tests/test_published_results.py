"""The table of published results follows its rules."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

PATH = Path(__file__).parents[1] / "data" / "reference" / "published_results.csv"
COLUMNS = [
    "task",
    "model",
    "metric",
    "value",
    "sd",
    "findings",
    "cohort",
    "n",
    "protocol",
    "source",
    "evidence",
    "note",
]


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return pd.read_csv(PATH)


def test_columns_and_vocabularies(published: pd.DataFrame) -> None:
    assert list(published.columns) == COLUMNS
    assert set(published["task"]) == {"classification", "retrieval"}
    assert set(published["evidence"]) == {"read", "second-hand", "abstract"}
    required = ["model", "metric", "value", "cohort", "protocol", "source"]
    assert published[required].notna().all(axis=None)


def test_metrics_are_named_as_in_this_project(published: pd.DataFrame) -> None:
    classification = published[published["task"] == "classification"]
    assert set(classification["metric"]) == {"auroc", "auprc", "f1_macro"}
    retrieval = published[published["task"] == "retrieval"]
    assert (
        retrieval["metric"]
        .str.fullmatch(r"(semantic_)?(v_to_t|t_to_v)_(recall_at_\d+|mrr)|mean_(un)?paired_similarity")
        .all()
    )


def test_values_are_fractions(published: pd.DataFrame) -> None:
    # Papers give recall in percent; a forgotten division would exceed 1.
    assert published["value"].between(-1, 1).all()
    assert published["sd"].dropna().between(0, 0.2).all()
    assert set(published.loc[published["task"] == "classification", "findings"]) == {5, 18}


def test_recall_grows_with_k(published: pd.DataFrame) -> None:
    recall = published[published["metric"].str.contains("recall_at_")].copy()
    recall[["direction", "k"]] = recall["metric"].str.split("_recall_at_", expand=True)
    recall["k"] = recall["k"].astype(int)
    for _, rows in recall.sort_values("k").groupby(["model", "direction", "protocol", "source"]):
        assert rows["value"].is_monotonic_increasing
        assert rows["k"].is_unique


def test_no_result_is_repeated(published: pd.DataFrame) -> None:
    assert not published.duplicated(["task", "model", "metric", "cohort", "protocol", "source"]).any()
