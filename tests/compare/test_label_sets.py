"""A second label table is read like every other table, under the same label rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ctbench_core.compare import read_label_set
from ctbench_core.config import Config
from ctbench_core.errors import ManifestError


def test_volumes_and_findings_are_those_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("Image ID;A;B;C\n001.nii.gz;1;x;0\n01;True;y;1\n1;;z;0\n")
    labels = read_label_set(path, ["C", "A", "absent"], Config())
    assert labels["volumename"].tolist() == ["001", "01", "1"]
    assert list(labels)[1:] == ["C", "A"]
    np.testing.assert_array_equal(labels["A"], [1, 1, np.nan])
    np.testing.assert_array_equal(labels["C"], [0, 1, 0])
    assert list(read_label_set(path, ["absent"], Config())) == ["volumename"]


def test_faults_are_named_and_rules_hold(tmp_path: Path) -> None:
    path, config = tmp_path / "labels.csv", Config()
    path.write_text("volumename,A\nv1,1\nv2,-1\n")
    with pytest.raises(ManifestError, match=r"label column 'A' has '-1' on line 3"):
        read_label_set(path, ["A"], config)
    config.data.labels.uncertain = "positive"
    assert read_label_set(path, ["A"], config)["A"].tolist() == [1, 1]
    path.write_text("volumename,A\nv1,1\nv1,0\n")
    with pytest.raises(ManifestError, match=r"duplicate volumename v1 \(1 row\), on line 3"):
        read_label_set(path, ["A"], config)
    path.write_text("what,A\nv1,1\n")
    with pytest.raises(ManifestError, match="no column 'volumename'"):
        read_label_set(path, ["A"], config)
