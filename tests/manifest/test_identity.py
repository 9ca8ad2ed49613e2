"""The identity of a labelled set: the same content in any order is the same set, and any other content is another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctbench_core.manifest import TableIdentity, identity_of, read_manifest

NAMES = st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=6, unique=True)
Set = tuple[list[str], list[str], np.ndarray]


@st.composite
def labelled_sets(draw: st.DrawFn) -> Set:
    volumes, labels = draw(NAMES), draw(NAMES)
    values = draw(st.lists(st.sampled_from([0, 1, np.nan]), min_size=36, max_size=36))
    return volumes, labels, np.array(values)[: len(volumes) * len(labels)].reshape(len(volumes), len(labels))


def identity(volumes: list[str], labels: list[str], targets: np.ndarray) -> TableIdentity:
    return identity_of(np.array(volumes, object), labels, targets)


@settings(max_examples=60, deadline=None)
@given(labelled_sets(), st.randoms(use_true_random=False))
def test_neither_rows_nor_columns_have_an_order(one: Set, random: object) -> None:
    volumes, labels, targets = one
    rows, columns = list(range(len(volumes))), list(range(len(labels)))
    random.shuffle(rows), random.shuffle(columns)  # type: ignore[attr-defined]
    shuffled = identity([volumes[r] for r in rows], [labels[c] for c in columns], targets[rows][:, columns])
    assert shuffled.id == identity(*one).id
    assert [volumes[r] for r in identity(*one).order] == sorted(volumes)


@settings(max_examples=60, deadline=None)
@given(labelled_sets(), st.data())
def test_every_label_volume_and_finding_counts(one: Set, data: st.DataObject) -> None:
    volumes, labels, targets = one
    before = identity(*one)
    row, column = data.draw(st.integers(0, len(volumes) - 1)), data.draw(st.integers(0, len(labels) - 1))
    changed = targets.copy()
    now = data.draw(
        st.sampled_from([v for v in (0.0, 1.0, np.nan) if not np.array_equal(v, changed[row, column], True)])
    )
    changed[row, column] = now
    after = identity(volumes, labels, changed)
    assert (after.volumes, after.findings) == (before.volumes, before.findings)
    assert after.labels != before.labels
    other_volumes = [*volumes[:row], volumes[row] + "x", *volumes[row + 1 :]]
    other_labels = [*labels[:column], labels[column] + "x", *labels[column + 1 :]]
    ids = {before.id, after.id}
    ids |= {identity(other_volumes, labels, targets).id, identity(volumes, other_labels, targets).id}
    ids |= {identity(volumes[:-1], labels, targets[:-1]).id, identity(volumes, labels[:-1], targets[:, :-1]).id}
    assert len(ids) == 6


def test_lists_that_read_alike_when_joined_are_different_sets() -> None:
    targets = np.zeros((2, 1))
    assert identity(["a,b", "c"], ["x"], targets).id != identity(["a", "b,c"], ["x"], targets).id
    assert identity(['a", "b', "c"], ["x"], targets).id != identity(["a", 'b", "c'], ["x"], targets).id


def test_rows_without_names_have_no_order_either() -> None:
    targets = np.array([[0, 1], [1, 1], [np.nan, 0]])
    assert identity([""] * 3, ["a", "b"], targets).id == identity([""] * 3, ["a", "b"], targets[::-1]).id


@pytest.mark.parametrize("change", ["name", "columns", "rows", "spelling", "format"])
def test_a_file_is_its_content(tmp_path: Path, change: str) -> None:
    table = pd.DataFrame({"volumename": ["v1", "v2"], "visual_feature_path": ["a", "b"], "A": [0, 1], "B": [1, None]})
    table.to_csv(tmp_path / "test.csv", index=False)
    if change == "columns":
        table = table[table.columns[::-1]]
    if change == "rows":
        table = table[::-1]
    if change == "spelling":
        table["A"], table["visual_feature_path"] = table["A"].astype(float), ["elsewhere/a", "elsewhere/b"]
    other = tmp_path / "other folder" / ("renamed.parquet" if change == "format" else "renamed.csv")
    other.parent.mkdir()
    table.to_parquet(other) if change == "format" else table.to_csv(other, index=False)
    assert read_manifest(other).identity.id == read_manifest(tmp_path / "test.csv").identity.id


def test_the_identity_stays_the_same_in_later_releases() -> None:
    """Ledgers and bundles hold these digests: another value would make every stored test set an unknown one."""
    one = identity(["valid_1_a_1", "valid_2_a_1"], ["Mass", "Effusion"], np.array([[0, 1], [np.nan, 0]]))
    assert one.id == "9810596459a5402483960029fc01e4f2"
