"""Budgets: nested, random or showing every finding, the same volumes for every label source."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import AutoSplitConfig
from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.manifest import (
    DrawingOrder,
    Manifest,
    Selection,
    apply_selection,
    draw_rows,
    read_manifest,
    read_selections,
    shared_patients,
    split_by_group,
    write_selections,
)

BUDGETS = [10, 25, 60, 150, None]


def draw_selections(
    train: Manifest,
    val: Manifest,
    budgets: Sequence[int | None],
    unit: str = "patient",
    seed: int = 42,
    draw: str = "random",
) -> list[Selection]:
    """Draw nested selections; a budget of None takes all units."""
    orders = DrawingOrder(train, unit, seed, 0, draw), DrawingOrder(val, unit, seed, 1, draw)
    selections = []
    for budget in budgets:
        train_rows, val_rows = draw_rows(*orders, budget)
        units = budget or len(orders[0]) + len(orders[1])
        selections.append(Selection(units, seed, train.volumes[train_rows], val.volumes[val_rows]))
    return selections


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return 200 patients of 1 to 3 exams of 2 volumes; a common finding and two that few patients have."""
    draw = np.random.default_rng(2)
    rows = ["volumename,visual_feature_path,common,rare,rarer"]
    for patient in range(200):
        labels = f"{draw.integers(2)},{int(patient % 40 == 0)},{int(patient % 66 == 1)}"
        for exam in "abc"[: draw.integers(1, 4)]:
            rows += [f"t_{patient}_{exam}_{r},v,{labels}" for r in (1, 2)]
    path = tmp_path_factory.mktemp("budget") / "all.csv"
    path.write_text("\n".join(rows))
    return read_manifest(path)


@pytest.fixture(scope="module")
def sides(manifest: Manifest) -> tuple[Manifest, Manifest]:
    """Return a training and a validation side of 160 and 40 patients."""
    return split_by_group(manifest, AutoSplitConfig(val_fraction=0.2), 0)


@pytest.mark.parametrize("unit", ["patient", "exam", "volume"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("draw", ["random", "covering"])
def test_budgets_count_both_sides_and_are_nested(
    sides: tuple[Manifest, Manifest], unit: str, seed: int, draw: str
) -> None:
    names = {side.volumes[i]: getattr(side, f"{unit}s")[i] for side in sides for i in range(len(side))}
    total = len(set(names.values()))
    selections = draw_selections(*sides, BUDGETS, unit, seed, draw)
    assert [s.budget for s in selections] == [10, 25, 60, 150, total]
    for smaller, larger in itertools.pairwise(selections):
        assert set(smaller.train) < set(larger.train)
        assert set(smaller.val) < set(larger.val)
    for selection in selections:
        units = {names[volume] for volume in [*selection.train, *selection.val]}
        assert len(units) == selection.budget
        assert {v for v, u in names.items() if u in units} == {*selection.train, *selection.val}
        held = len({names[volume] for volume in selection.val})
        assert abs(held - selection.budget * 0.2) <= max(1, 0.05 * selection.budget)


@pytest.mark.parametrize("seed", range(10))
def test_small_covering_budgets_show_every_finding_on_both_sides(sides: tuple[Manifest, Manifest], seed: int) -> None:
    selection = draw_selections(*sides, [25], "patient", seed, "covering")[0]
    train, val = apply_selection(selection, sides)
    assert train.one_class_findings() == []
    assert val.one_class_findings() == sides[1].one_class_findings()
    assert shared_patients(val, [train]) == []


def test_what_a_budget_cannot_cover_is_named(sides: tuple[Manifest, Manifest]) -> None:
    train, _ = apply_selection(draw_selections(*sides, [2])[0], sides)
    assert set(train.one_class_findings()) & {"rare", "rarer"}


@pytest.mark.parametrize("unit", ["patient", "exam", "volume"])
def test_a_random_draw_is_the_same_whatever_the_labels(sides: tuple[Manifest, Manifest], unit: str) -> None:
    relabelled = [
        dataclasses.replace(side, targets=np.random.default_rng(1).permutation(side.targets).astype(side.targets.dtype))
        for side in sides
    ]

    def drawn(those: Sequence[Manifest], draw: str) -> list[list[str]]:
        selections = [draw_selections(*those, [25], unit, seed, draw)[0] for seed in range(5)]
        return [[*selection.train, *selection.val] for selection in selections]

    assert drawn(sides, "random") == drawn(relabelled, "random")
    assert drawn(sides, "covering") != drawn(relabelled, "covering")


def test_random_budgets_keep_the_prevalence_that_covering_ones_shift(sides: tuple[Manifest, Manifest]) -> None:
    """The mean over draws of patients of a finding of 4 in 160: 20 patients hold the cohort's share, or a shifted one."""

    def share(draw: str) -> float:
        shares = []
        for seed in range(200):
            side = apply_selection(draw_selections(*sides, [25], seed=seed, draw=draw)[0], sides)[0]
            positive = {p for p, target in zip(side.patients, side.targets[:, 1]) if target == 1}
            shares.append(len(positive) / len(set(side.patients)))
        return float(np.mean(shares))

    patients = set(sides[0].patients)
    positive = {p for p, target in zip(sides[0].patients, sides[0].targets[:, 1]) if target == 1}
    cohort = len(positive) / len(patients)
    error = np.sqrt(cohort * (1 - cohort) / 20 / 200)
    assert abs(share("random") - cohort) < 4 * error
    assert share("covering") > 1.5 * cohort


@pytest.mark.parametrize("budget", [0, 1, 201])
def test_impossible_budgets_are_named(sides: tuple[Manifest, Manifest], budget: int) -> None:
    with pytest.raises(ConfigError, match=rf"Budget {budget} is not possible: .* hold 200 patients"):
        draw_selections(*sides, [budget])


def test_a_file_gives_another_label_source_the_same_volumes(
    manifest: Manifest, sides: tuple[Manifest, Manifest], tmp_path: Path
) -> None:
    path = tmp_path / "selection_index.csv"
    drawn = [s for seed in (1, 2) for s in draw_selections(*sides, BUDGETS, seed=seed)]
    write_selections(path, drawn)
    read = read_selections(path)
    assert [(s.budget, s.seed) for s in read] == [(s.budget, s.seed) for s in drawn]
    # The other source: one manifest, other row order, other labels.
    table = pd.DataFrame({"volumename": manifest.volumes[::-1], "visual_feature_path": "v", "common": "1"})
    table.to_csv(tmp_path / "other.csv", index=False)
    other = read_manifest(tmp_path / "other.csv")
    for before, after in zip(drawn, read):
        for mine, theirs in zip(apply_selection(before, sides), apply_selection(after, [other])):
            assert mine.volumes.tolist() == theirs.volumes.tolist()
            assert theirs.labels == ["common"]


def test_a_file_without_a_split_is_split_alike_for_every_source(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "selection_index.csv"
    rows = "".join(f"50,42,{name}.nii.gz\n" for name in manifest.volumes[:100])
    path.write_text("budget,seed,selection_value\n" + rows)
    selection = read_selections(path)[0]
    assert selection.train.tolist() == manifest.volumes[:100].tolist()
    frame = manifest.frame.assign(common="0")
    frame.to_csv(tmp_path / "other.csv", index=False)
    here, there = (apply_selection(selection, [m]) for m in (manifest, read_manifest(tmp_path / "other.csv")))
    assert [side.volumes.tolist() for side in here] == [side.volumes.tolist() for side in there]
    assert shared_patients(here[1], [here[0]]) == []


def test_volumes_that_a_source_lacks_are_named(sides: tuple[Manifest, Manifest]) -> None:
    selection = draw_selections(*sides, [150])[0]
    with pytest.raises(ManifestError, match=r"lacks t_.* \(\d+ volumes\) of the selection of budget 150, seed 42"):
        apply_selection(selection, [sides[0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budget,selection_value\n10,a\n", r"no column seed"),
        ("budget,seed,selection_value\n1e999,1,a\n10,1.5,b\n", r"line 2, 3 \(2 rows\): budget and seed must be whole"),
        ("budget,seed,selection_value,split\n10,1,a,other\nx,1,b,val\n", r"line 2, 3 \(2 rows\): budget and seed"),
    ],
)
def test_a_damaged_selection_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "selection_index.csv"
    path.write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_selections(path)


def test_the_two_sides_draw_by_streams_of_their_own(manifest: Manifest) -> None:
    """The same patients as training and as validation come in another order, and again in the same."""
    first, second, again = (DrawingOrder(manifest, "patient", 3, side) for side in (0, 1, 0))
    assert (first.ranks != second.ranks).any()
    np.testing.assert_array_equal(first.ranks, again.ranks)
