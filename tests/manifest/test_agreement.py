"""Agreement of two label sources on the same volumes, against scikit-learn."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from ctbench_core.cli.summaries import agreement_table
from ctbench_core.errors import ManifestError
from ctbench_core.manifest import Manifest, compare_labels, read_manifest


def write_manifest(path: Path, names: list[str], labels: dict[str, list[Any]]) -> Manifest:
    rows = [",".join(["volumename", "visual_feature_path", *labels])]
    rows += [
        ",".join([name, "v", *("" if v is None else str(v) for v in values)])
        for name, *values in zip(names, *labels.values())
    ]
    path.write_text("\n".join(rows))
    return read_manifest(path, labels=list(labels))


def test_kappa_and_agreement_are_scikit_learns_on_the_common_volumes(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    names = [f"t_{i // 2}_a_{i % 2 + 1}" for i in range(300)]
    truth = draw.integers(0, 2, 300)
    other = np.where(draw.random(300) < 0.2, 1 - truth, truth)
    first = write_manifest(tmp_path / "manual.csv", names[:250], {"A": truth[:250].tolist(), "B": truth[:250].tolist()})
    shuffled = draw.permutation(np.arange(50, 300))
    second = write_manifest(
        tmp_path / "report.csv", [names[i] for i in shuffled], {"C": [0] * 250, "A": other[shuffled].tolist()}
    )
    agreement = compare_labels(first, second)
    row = agreement.table.iloc[0]
    a, b = truth[50:250], other[50:250]
    assert agreement.table["finding"].tolist() == ["A"]
    assert agreement.n == {"volumes": 200, "exams": 100, "patients": 100}
    assert (agreement.only_first, agreement.only_second) == (50, 50)
    assert (agreement.findings_only_first, agreement.findings_only_second) == (("B",), ("C",))
    assert row["kappa"] == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
    assert row["agreement"] == pytest.approx((a == b).mean())
    assert (row["prevalence_first"], row["prevalence_second"]) == pytest.approx((a.mean(), b.mean()))
    cells = confusion_matrix(a, b)
    assert row[["neither", "only_second", "only_first", "both"]].tolist() == cells.ravel().tolist()


def test_unknown_labels_are_left_out_and_undefined_kappa_says_why(tmp_path: Path) -> None:
    names = ["t_1_a_1", "t_2_a_1", "t_3_a_1", "t_4_a_1"]
    first = write_manifest(
        tmp_path / "a.csv", names, {"A": [1, 0, None, 1], "B": [0, 0, 0, 0], "C": [None, None, 1, 0]}
    )
    second = write_manifest(
        tmp_path / "b.csv", names, {"A": [1, 0, 1, None], "B": [0, 0, 0, 0], "C": [1, 0, None, None]}
    )
    a, b, c = compare_labels(first, second).table.to_dict("records")
    assert (a["volumes"], a["kappa"], a["undefined"]) == (2, 1.0, "")
    assert b["agreement"] == 1.0 and math.isnan(b["kappa"]) and "one class" in b["undefined"]
    assert c["volumes"] == 0 and math.isnan(c["agreement"]) and "no volume" in c["undefined"]


def test_opposite_constants_have_a_kappa_of_zero(tmp_path: Path) -> None:
    names = ["t_1_a_1", "t_2_a_1"]
    first = write_manifest(tmp_path / "a.csv", names, {"A": [1, 1]})
    second = write_manifest(tmp_path / "b.csv", names, {"A": [0, 0]})
    assert compare_labels(first, second).table["kappa"].tolist() == [cohen_kappa_score([1, 1], [0, 0])] == [0.0]


def test_sources_that_share_nothing_are_named(tmp_path: Path) -> None:
    first = write_manifest(tmp_path / "a.csv", ["t_1_a_1"], {"A": [1]})
    with pytest.raises(ManifestError, match=r"share no finding: A; B"):
        compare_labels(first, write_manifest(tmp_path / "b.csv", ["t_1_a_1"], {"B": [1]}))
    with pytest.raises(ManifestError, match=r"share no volume: the first begins with t_1_a_1, the second with v_1_a_1"):
        compare_labels(first, write_manifest(tmp_path / "c.csv", ["v_1_a_1"], {"A": [1]}))


def test_the_command_line_compares_too(cli: Any, tmp_path: Path) -> None:
    names = ["t_1_a_1", "t_2_a_1", "t_3_a_1", "t_4_a_1"]
    write_manifest(tmp_path / "a.csv", names, {"A": [1, 0, 0, 1]})
    write_manifest(tmp_path / "b.csv", names, {"A": [1, 0, 1, 1]})
    ended = cli("agree", f"first_csv={tmp_path / 'a.csv'}", f"second_csv={tmp_path / 'b.csv'}")
    assert ended.code == 0
    assert ended.json["per_class"]["A"]["kappa"] == pytest.approx(cohen_kappa_score([1, 0, 0, 1], [1, 0, 1, 1]))
    assert cli("agree", f"first_csv={tmp_path / 'a.csv'}").code == 2


def test_warnings_of_both_manifests_and_findings_of_one_are_printed(tmp_path: Path) -> None:
    names = ["t_1_a_1", "t_2_a_1"]
    first = write_manifest(tmp_path / "a.csv", names, {"A": [1, 0], "B": [0, 1]})
    second = write_manifest(tmp_path / "b.csv", names, {"A": [1, 0], "C": [0, 1]})
    sides = (dataclasses.replace(one, warnings=[f"{one.name}: odd."]) for one in (first, second))
    agreement = compare_labels(*sides)
    text = agreement_table(agreement)
    for line in (
        "Warning: a.csv: odd.",
        "Warning: b.csv: odd.",
        "Findings only in (1), not compared: B (1 finding)",
        "Findings only in (2), not compared: C (1 finding)",
    ):
        assert line in text.splitlines()
    assert agreement.to_json()["warnings"] == ["a.csv: odd.", "b.csv: odd."]
