"""Every truth and both directions, from a manifest to JSON, recall.csv and the printed table, against brute force."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core.alignment import run_alignment
from ctbench_core.alignment.pairs import paired_manifest
from ctbench_core.config import Config
from ctbench_core.declared import DIRECTIONS, TRUTHS, load
from ctbench_core.errors import ManifestError
from ctbench_core.formatting import format_metric
from ctbench_core.manifest import read_manifest
from tests.retrieval_case import KS, brute_metrics, groups_by, write_case

Make = Callable[..., Config]
# The names of the JSON, written out here so that they cannot follow a change of the declaration.
NAMES = {"visual to text": "v_to_t", "text to visual": "t_to_v"}


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    return write_case(tmp_path / "case")


@pytest.fixture
def config(tmp_path: Path, table: pd.DataFrame, make_config: Make) -> Config:
    return make_config(tmp_path / "case", {"data.train_manifest": "test.csv", "job_name": "align", "analysis.k": KS})


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    pairs = set(zip(np.asarray(first).tolist(), np.asarray(second).tolist()))
    return len(pairs) == len(set(np.asarray(first).tolist())) == len(set(np.asarray(second).tolist()))


@pytest.mark.parametrize("truth", TRUTHS)
def test_the_groups_of_each_truth_are_those_of_the_manifest(config: Config, table: pd.DataFrame, truth: str) -> None:
    manifest = paired_manifest(config)
    reports = {path: number for number, path in enumerate(dict.fromkeys(table["text_feature_path"]))}
    vectors = np.stack([np.load(Path(config.paths.data_root) / path)["arr_0"] for path in reports])
    rows = table["text_feature_path"].map(reports).to_numpy()
    groups = load(TRUTHS[truth].groups)(manifest, vectors, rows)
    for other in TRUTHS:
        assert same_partition(groups, groups_by(table, other)) == (other == truth)


@pytest.mark.parametrize("truth", TRUTHS)
def test_json_and_recall_table_equal_brute_force_in_both_directions(
    config: Config, table: pd.DataFrame, tmp_path: Path, truth: str
) -> None:
    config.analysis.truth = truth
    expected = brute_metrics(tmp_path / "case", table, truth)
    assert expected["visual to text"] != expected["text to visual"]
    result = run_alignment(config)
    recall = pd.read_csv(Path(result["run_dir"]) / "alignment" / "test" / "recall.csv")
    stored = recall[recall["truth"] == "instance"].set_index(["direction", "k"])
    ranks = pd.read_parquet(Path(result["run_dir"]) / "alignment" / "test" / "ranks.parquet")
    for direction, metrics in expected.items():
        way = NAMES[direction]
        for name in ("mrr", "map", *(f"{kind}_at_{k}" for kind in ("recall", "chance", "ndcg") for k in KS)):
            if f"{way}_{name}" in result:
                assert result[f"{way}_{name}"] == pytest.approx(metrics[name], abs=1e-9), (way, name)
        for k in KS:
            assert stored.loc[(way, k), "recall"] == pytest.approx(metrics[f"recall_at_{k}"], abs=1e-9)
            assert stored.loc[(way, k), "chance"] == pytest.approx(metrics[f"chance_at_{k}"], abs=1e-9)
        first = ranks[(ranks["direction"] == way) & (ranks["truth"] == "instance")]["first_rank"]
        assert first.mean() == pytest.approx(metrics["rank"], abs=1e-9)


def test_the_printed_table_equals_brute_force_in_both_directions(
    cli: Callable[..., object], tmp_path: Path, table: pd.DataFrame
) -> None:
    words = [f"paths.data_root={tmp_path / 'case/features'}", f"paths.manifest_dir={tmp_path / 'case/manifests'}"]
    ended = cli("align", *words, "data.train_manifest=test.csv", "analysis.k=[1,5,10]", "analysis.truth=patient")
    lines = [line.split() for line in ended.out.splitlines()]  # type: ignore[attr-defined]
    for hits, truth in (("instance,", "patient"), ("semantic,", "labels")):
        for direction, metrics in brute_metrics(tmp_path / "case", table, truth).items():
            (cells,) = (line[4:] for line in lines if line[:4] == [hits, *direction.split()])
            assert cells == [format_metric(metrics[name]) for name in (*(f"recall_at_{k}" for k in KS), "mrr")]
            chances = [line[-len(KS) :] for line in lines if line[:2] == [hits, "chance"]]
            assert chances == [[format_metric(metrics[f"chance_at_{k}"]) for k in KS]]


def test_all_titles_of_a_direction_name_its_query_first() -> None:
    for name, query, gallery in (("v_to_t", "volume", "report"), ("t_to_v", "report", "volume")):
        direction = DIRECTIONS[name]
        assert (direction.query_noun, direction.gallery_noun) == (query, gallery)
        assert direction.title == f"{query} → {gallery}"
    assert [direction.mark for direction in DIRECTIONS.values()] == ["→", "←", "volumes", "reports"]
    for name, direction in DIRECTIONS.items():
        assert name == f"{direction.query[0]}_to_{direction.gallery[0]}"


def test_labels_are_needed_where_a_truth_needs_them(config: Config, table: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "case" / "manifests" / "test.csv"
    table.drop(columns=["Mass", "Nodule"]).to_csv(path, index=False)
    assert not read_manifest(path, config.data.columns, None, require_labels=False).labels
    for truth in TRUTHS.values():
        config.analysis.truth = truth.name
        if truth.needs_labels:
            with pytest.raises(ManifestError, match=f"no label column, which analysis.truth={truth.name} needs"):
                paired_manifest(config)
        else:
            assert len(paired_manifest(config)) == len(table)


def test_the_docs_list_every_truth() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    for truth in TRUTHS.values():
        assert f"`{truth.name}` ({truth.title})" in text
